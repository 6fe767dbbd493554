/**
 * @file The low-rank branches of one or several layers with the same input: y += s·h·Bᵀ with h = x·[A…]ᵀ, one product for all A.
 *
 * A and B are float masters; products with bf16 activations take them in bf16. Those copies live as long as the value they copy, which is a
 * step: an update gives the variable a new one.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import type { Branch } from './layers.js';

type Type = 'bf16' | 'f32';

/** The branches of some layers side by side; `at` is where a layer's columns of h begin. */
export interface BranchGroup {
  /** Per layer; null without a branch. */
  readonly of: readonly ({ readonly branch: Branch; readonly at: number; readonly rank: number } | null)[];
  /** Σr. */
  readonly rank: number;
}

export function groupBranches(branches: readonly (Branch | null)[]): BranchGroup {
  let rank = 0;
  const of = branches.map((branch) => {
    if (branch === null) return null;
    const at = rank;
    rank += branch.a.shape[0]!;
    return { branch, at, rank: branch.a.shape[0]! };
  });
  return { of, rank };
}

/** [A…] [Σr, in] in `type`; not to be released. */
function stackedA(backend: CudaBackend, group: BranchGroup, type: Type): TensorInfo {
  return backend.derived(
    group.of.flatMap((part) => part?.branch.a ?? []),
    `stacked ${type}`,
    (as) => {
      const stacked = backend.output([group.rank, as[0]!.shape[1]!], 'float32', type);
      let row = 0;
      for (const a of as) {
        const place = backend.view(stacked, a.shape, row * a.shape[1]!);
        backend.convert(a, place);
        backend.release(place);
        row += a.shape[0]!;
      }
      return stacked;
    },
  );
}

/** B in `type`; not to be released. */
const typedB = (backend: CudaBackend, { b }: Branch, type: Type): TensorInfo =>
  backend.physical(b) === type ? b : backend.derived([b], type, ([b]) => backend.as(b!, type));

const bytesOf = (type: Type) => (type === 'bf16' ? 2 : 4);

/** h = x·[A…]ᵀ [T, Σr] in the type of x; owned by the caller. */
export function branchInputs(backend: CudaBackend, x: TensorInfo, group: BranchGroup, type: Type): TensorInfo {
  const [T, inputs] = x.shape as [number, number];
  const h = backend.output([T, group.rank], 'float32', type);
  backend.multiply({
    ...{ m: T, n: group.rank, k: inputs, transposeB: true, type, outputType: type },
    ...{ a: backend.address(x), b: backend.address(stackedA(backend, group, type)), d: backend.address(h) },
  });
  return h;
}

/** y [T, out] += s·h·Bᵀ of layer n. */
export function addBranch(
  backend: CudaBackend,
  y: TensorInfo,
  h: TensorInfo,
  group: BranchGroup,
  n: number,
  type: Type,
) {
  const part = group.of[n];
  if (!part) return;
  const [T, out] = y.shape as [number, number];
  backend.multiply({
    ...{ m: T, n: out, k: part.rank, transposeB: true, type, outputType: type, lda: group.rank },
    ...{ a: backend.address(h) + part.at * bytesOf(type), b: backend.address(typedB(backend, part.branch, type)) },
    ...{ d: backend.address(y), alpha: part.branch.scaling, beta: 1 },
  });
}

export interface BranchGradients {
  /** s·dy·B of all layers side by side [T, Σr]; owned by the caller. */
  readonly dh: TensorInfo;
  /** dA and dB of each layer with a branch, one after the other, in float. */
  readonly gradients: TensorInfo[];
}

/** Gradients of the branches. @param dys of all layers. */
export function branchGradients(
  backend: CudaBackend,
  x: TensorInfo,
  h: TensorInfo,
  dys: readonly TensorInfo[],
  group: BranchGroup,
  type: Type,
): BranchGradients {
  const [T, inputs] = x.shape as [number, number];
  const { rank: all } = group;
  const dh = backend.output([T, all], 'float32', type);
  const stackedGradient = backend.output([all, inputs], 'float32', 'f32');
  const gradients: TensorInfo[] = [];
  const products = { type, alpha: 1 } as const;
  group.of.forEach((part, n) => {
    if (!part) return;
    const { branch, at, rank } = part;
    const out = branch.b.shape[0]!;
    const [dy, place] = [backend.address(dys[n]!), at * bytesOf(type)];
    backend.multiply({
      ...{ ...products, m: T, n: rank, k: out, outputType: type, alpha: branch.scaling },
      ...{ a: dy, b: backend.address(typedB(backend, branch, type)), d: backend.address(dh) + place, ldd: all },
    });
    const db = backend.output(branch.b.shape, 'float32', 'f32');
    if (T === 0) backend.clear(db);
    else {
      backend.multiply({
        ...{ ...products, m: out, n: rank, k: T, transposeA: true, outputType: 'f32', alpha: branch.scaling },
        ...{ a: dy, b: backend.address(h) + place, ldb: all, d: backend.address(db) },
      });
    }
    gradients.push(backend.view(stackedGradient, branch.a.shape, at * inputs), db);
  });
  if (T === 0) backend.clear(stackedGradient);
  else {
    backend.multiply({
      ...{ ...products, m: all, n: inputs, k: T, transposeA: true, outputType: 'f32' },
      ...{ a: backend.address(dh), b: backend.address(x), d: backend.address(stackedGradient) },
    });
  }
  backend.release(stackedGradient);
  return { dh, gradients };
}

/** dx [T, in] += dh·[A…]; or = where `begins`. */
export function addBranchGradient(
  backend: CudaBackend,
  dx: TensorInfo,
  dh: TensorInfo,
  group: BranchGroup,
  type: Type,
  begins = false,
): void {
  const [T, inputs] = dx.shape as [number, number];
  backend.multiply({
    ...{ m: T, n: inputs, k: group.rank, type, outputType: type, beta: begins ? 0 : 1 },
    ...{ a: backend.address(dh), b: backend.address(stackedA(backend, group, type)), d: backend.address(dx) },
  });
}
