/**
 * @file The low-rank branches of one or several layers with the same input: s·h·Bᵀ in y with h = x·[A…]ᵀ, one product for all A.
 *
 * A branch comes before the frozen product, as does its gradient: what is written first is rounded once more when the other product is added to
 * it, and of the branch, which is small, that costs little. Neither order moves more bytes than the other. In sparse rows it comes after the kept
 * channels, which are written with zeros between them; and in small models, where both are made beside one another (`leaveRoom`).
 *
 * A and B are float masters; products with bf16 activations take them in bf16. Those copies are kept with the masters, the A's of a group one
 * after the other, and the optimizer writes them together with the masters (optimizer.ts).
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { productOf } from '../../device/product.js';
import { HALF, halfOf, inScope } from '../../shared/tensors.js';
import { BYTES } from '../../storage.js';
import { type Norm, normOf } from '../norm/rms-norm.js';
import { maskInPlace } from '../select/mask-columns.js';
import { fitOnePass, type GradientPart, gradientsInOnePass, type ScaledRows } from './branch-gradients.js';
import { type OutputPart, outputsFit, outputsInOneLaunch } from './branch-outputs.js';
import { type Branch, LANE } from './layers.js';
import { adapterIn } from './lora-linear.js';
import { scaleColumns } from './scale-columns.js';

type Type = 'bf16' | 'f32';

interface GroupedBranch {
  readonly branch: Branch;
  readonly at: number;
  readonly rank: number;
}

/** The branches of some layers side by side; `at` is where a layer's columns of h begin. */
export interface BranchGroup {
  /** Per layer; null without a branch. */
  readonly of: readonly (GroupedBranch | null)[];
  /** Σr. */
  readonly rank: number;
  /** The A's that there are. */
  readonly as: readonly TensorInfo[];
  /** Numbers of each of them. */
  readonly sizes: readonly number[];
}

export function groupBranches(branches: readonly (Branch | null)[]): BranchGroup {
  let rank = 0;
  const of: (GroupedBranch | null)[] = [];
  const as: TensorInfo[] = [];
  const sizes: number[] = [];
  for (const branch of branches) {
    if (branch === null) {
      of.push(null);
      continue;
    }
    const [ownRank, inputs] = branch.a.shape as [number, number];
    of.push({ branch, at: rank, rank: ownRank });
    as.push(branch.a);
    sizes.push(ownRank * inputs);
    rank += ownRank;
  }
  return { of, rank, as, sizes };
}

/** Address of [A…] [Σr, in] in bf16, which is kept with them. */
export const stackedA = (backend: CudaBackend, { as, sizes }: BranchGroup): number =>
  backend.derivedTogether(as, HALF, sizes, BYTES.bf16, (a, address) => backend.convert(a, address, 'bf16'));

/** Runs `f` with the address of [A…] [Σr, in] in `type`. */
function withStackedA(backend: CudaBackend, group: BranchGroup, type: Type, f: (address: number) => void): void {
  if (type === 'bf16') {
    f(stackedA(backend, group));
    return;
  }
  const { as, sizes } = group;
  const total = sizes.reduce((sum, n) => sum + n, 0);
  backend.scratch(total * BYTES[type], (stacked) => {
    let at = 0;
    as.forEach((a, n) => {
      backend.convert(a, stacked + at, 'f32');
      at += sizes[n]! * BYTES[type];
    });
    f(stacked);
  });
}

/** Runs `f` with the address of B in `type`. */
function withB(backend: CudaBackend, { b }: Branch, type: Type, f: (address: number) => void): void {
  inScope(backend, (scope) => f(adapterIn(backend, type, b, scope)));
}

/**
 * h = x·[A…]ᵀ [T, Σr] in the type of x; owned by the caller.
 * @param beside whether it is made beside what is launched after it. @param multiprocessors see `Product`.
 */
export function branchInputs(
  backend: CudaBackend,
  x: TensorInfo,
  group: BranchGroup,
  type: Type,
  beside = false,
  multiprocessors?: number,
): TensorInfo {
  const [T, inputs] = x.shape as [number, number];
  return backend.beside(beside ? LANE.branches : 0, () => {
    const h = backend.output([T, group.rank], 'float32', type);
    withStackedA(backend, group, type, (b) => {
      const product = productOf(T, group.rank, inputs, type, type);
      product.transposeB = true;
      product.a = backend.address(x);
      product.b = b;
      product.d = backend.address(h);
      product.multiprocessors = multiprocessors;
      backend.multiply(product);
    });
    return h;
  });
}

/** What a sum begins with: nothing in rows before `from`, this matrix in the others. */
export interface Below {
  /** [T, n]. */
  readonly matrix: TensorInfo;
  readonly from: number;
  /** From a row on only these columns of it; of a matrix that is y itself. */
  readonly mask?: { readonly indices: TensorInfo; readonly from: number };
}

/** The parts of one launch that writes branches, by layers that have one; null where it cannot do it. */
export function outputParts(
  backend: CudaBackend,
  ys: readonly TensorInfo[],
  h: TensorInfo,
  group: BranchGroup,
  below: readonly (Below | null)[],
): OutputPart[] | null {
  const parts: OutputPart[] = [];
  for (let n = 0; n < group.of.length; n++) {
    const part = group.of[n];
    if (!part) continue;
    const { at, rank, branch } = part;
    const { b, scaling } = branch;
    const under = below[n];
    const mask = under?.mask;
    const c = under ? backend.address(under.matrix) : 0;
    const kept = mask
      ? { address: backend.address(mask.indices), count: mask.indices.shape[0]!, from: mask.from }
      : null;
    const [y, half] = [backend.address(ys[n]!), halfOf(backend, b)];
    parts.push({ y, c, from: under?.from ?? 0, kept, b: half, out: b.shape[0]!, rank, at, scaling });
  }
  return outputsFit(parts, backend.address(h), group.rank) ? parts : null;
}

/** y [T, out] = s·h·Bᵀ of every layer with a branch, each on top of `below` where there is something. */
export function writeBranches(
  backend: CudaBackend,
  ys: readonly TensorInfo[],
  h: TensorInfo,
  group: BranchGroup,
  type: Type,
  below: readonly (Below | null)[],
): void {
  const T = h.shape[0]!;
  const ofH = backend.address(h);
  if (T === 0 || group.of.every((part) => part === null)) return;
  const parts = type === 'bf16' ? outputParts(backend, ys, h, group, below) : null;
  if (parts) {
    outputsInOneLaunch(backend, T, parts, ofH, group.rank);
    return;
  }
  group.of.forEach((part, n) => {
    if (!part) return;
    const { branch, at, rank } = part;
    const out = branch.b.shape[0]!;
    const mask = below[n]?.mask;
    if (mask) maskInPlace(backend, ys[n]!, mask.indices, mask.from);
    withB(backend, branch, type, (b) => {
      const product = productOf(T, out, rank, type, type);
      product.transposeB = true;
      product.lda = group.rank;
      product.a = ofH + at * BYTES[type];
      product.b = b;
      product.alpha = branch.scaling;
      multiplyOnTop(backend, ys[n]!, below[n] ?? null, product);
    });
  });
}

/** A product of T rows written to y, on top of `below` where there is something. @param product all else of it; it is filled in. */
function multiplyOnTop(
  backend: CudaBackend,
  y: TensorInfo,
  below: Below | null,
  product: ReturnType<typeof productOf>,
): void {
  const [T, n] = y.shape as [number, number];
  const from = below ? below.from : T;
  product.d = backend.address(y);
  if (from > 0) {
    product.m = from;
    backend.multiply(product);
  }
  if (!below || from === T) return;
  const place = from * n * BYTES[product.type];
  product.m = T - from;
  product.a += from * (product.lda ?? product.k) * BYTES[product.type];
  product.d += place;
  product.c = backend.address(below.matrix) + place;
  product.beta = 1;
  backend.multiply(product);
}

export interface BranchGradients {
  /** s·dy·B of all layers side by side [T, Σr]; owned by the caller. */
  readonly dh: TensorInfo;
  /** dA and dB of each layer with a branch, one after the other, in float. */
  readonly gradients: TensorInfo[];
}

/**
 * Gradients of the branches.
 * @param dys of all layers.
 * @param beside whether they are made beside what is launched after it.
 */
export function branchGradients(
  backend: CudaBackend,
  x: TensorInfo,
  h: TensorInfo,
  dys: readonly TensorInfo[],
  group: BranchGroup,
  type: Type,
  beside: boolean,
): BranchGradients {
  const half = branchGradientsOfH(backend, x, h, dys, group, type, beside);
  return { dh: half.dh, gradients: gradientsOfAdapters(backend, x, half, group, type, beside) };
}

interface HalfOfGradients {
  /** What others wait for, [T, Σr]. */
  readonly dh: TensorInfo;
  /** Of each layer with a branch. */
  readonly dbs: readonly (TensorInfo | null)[];
  /** Of a norm that is still to be made: dh, its rows times 1/rms. */
  readonly scaled: { readonly dh: TensorInfo; readonly norm: Norm } | null;
}

/** The first half of it; dh is owned by the caller, the rest by the second half. */
export function branchGradientsOfH(
  backend: CudaBackend,
  x: TensorInfo,
  h: TensorInfo,
  dys: readonly TensorInfo[],
  group: BranchGroup,
  type: Type,
  beside: boolean,
): HalfOfGradients {
  const T = h.shape[0]!;
  const norm = type === 'bf16' ? normOf(backend, x) : null;
  return backend.beside(beside ? LANE.branches : 0, () => {
    const ofH = () => backend.output([T, group.rank], 'float32', type);
    const dh = ofH();
    const dbs = group.of.map((part) => part && backend.output(part.branch.b.shape, 'float32', 'f32'));
    const pass = type === 'bf16' ? onePass(backend, T, h, dys, dbs, group, dh) : null;
    if (pass === null) {
      byProducts(backend, T, h, dys, dbs, group, type, dh);
      return { dh, dbs, scaled: null };
    }
    const scaled = norm && { dh: ofH(), norm };
    pass(scaled && { scales: scaled.norm.inverseRms, to: backend.address(scaled.dh) });
    return { dh, dbs, scaled };
  });
}

/** The second half, which only the optimizer waits for: dA and dB of each layer with a branch, owned by the caller. */
export function gradientsOfAdapters(
  backend: CudaBackend,
  x: TensorInfo,
  { dh, dbs, scaled }: HalfOfGradients,
  group: BranchGroup,
  type: Type,
  beside: boolean,
): TensorInfo[] {
  const [T, inputs] = x.shape as [number, number];
  const all = group.rank;
  return backend.beside(beside ? LANE.gradients : 0, () => {
    const stackedGradient = backend.output([all, inputs], 'float32', 'f32');
    if (T === 0) backend.clear(stackedGradient);
    else {
      const product = productOf(all, inputs, T, type, 'f32');
      product.transposeA = true;
      // Of a norm that is still to be made: (dh·1/rms)ᵀ·x, its columns times the weight.
      product.a = backend.address(scaled?.dh ?? dh);
      product.b = backend.address(scaled?.norm.x ?? x);
      product.d = backend.address(stackedGradient);
      backend.multiply(product);
      if (scaled) {
        scaleColumns(backend, stackedGradient, scaled.norm.weight);
        backend.release(scaled.dh);
      }
    }
    const gradients: TensorInfo[] = [];
    for (let n = 0; n < group.of.length; n++) {
      const part = group.of[n];
      if (!part) continue;
      gradients.push(backend.view(stackedGradient, part.branch.a.shape, part.at * inputs), dbs[n]!);
    }
    backend.release(stackedGradient);
    return gradients;
  });
}

/** What writes dh and each dB in one pass over each dy; null where that cannot be done. */
function onePass(
  backend: CudaBackend,
  T: number,
  h: TensorInfo,
  dys: readonly TensorInfo[],
  dbs: readonly (TensorInfo | null)[],
  group: BranchGroup,
  dh: TensorInfo,
): ((scaled: ScaledRows | null) => void) | null {
  const parts: GradientPart[] = [];
  for (let n = 0; n < group.of.length; n++) {
    const part = group.of[n];
    if (!part) continue;
    const { b, scaling } = part.branch;
    const [dy, half, db] = [backend.address(dys[n]!), halfOf(backend, b), backend.address(dbs[n]!)];
    parts.push({ dy, b: half, db, out: b.shape[0]!, rank: part.rank, scaling });
  }
  const [ofH, to] = [backend.address(h), backend.address(dh)];
  if (T === 0 || !fitOnePass(backend, parts, ofH, to)) return null;
  return (scaled) => gradientsInOnePass(backend, T, parts, ofH, to, scaled);
}

/** The same by two products a layer. */
function byProducts(
  backend: CudaBackend,
  T: number,
  h: TensorInfo,
  dys: readonly TensorInfo[],
  dbs: readonly (TensorInfo | null)[],
  { of, rank: all }: BranchGroup,
  type: Type,
  dh: TensorInfo,
): void {
  of.forEach((part, n) => {
    if (!part) return;
    const { branch, at, rank } = part;
    const out = branch.b.shape[0]!;
    const [dy, place] = [backend.address(dys[n]!), at * BYTES[type]];
    withB(backend, branch, type, (b) =>
      backend.multiply({
        ...{ m: T, n: rank, k: out, type, outputType: type, alpha: branch.scaling },
        ...{ a: dy, b, d: backend.address(dh) + place, ldd: all },
      }),
    );
    if (T === 0) backend.clear(dbs[n]!);
    else {
      backend.multiply({
        ...{ m: out, n: rank, k: T, transposeA: true, type, outputType: 'f32', alpha: branch.scaling },
        ...{ a: dy, b: backend.address(h) + place, ldb: all, d: backend.address(dbs[n]!) },
      });
    }
  });
}

/** dx [T, in] = dh·[A…], on top of what it holds from row `from` on. */
export function writeBranchGradient(
  backend: CudaBackend,
  dx: TensorInfo,
  dh: TensorInfo,
  group: BranchGroup,
  from: number,
  type: Type,
): void {
  withStackedA(backend, group, type, (b) => {
    const product = productOf(dx.shape[0]!, dx.shape[1]!, group.rank, type, type);
    product.a = backend.address(dh);
    product.b = b;
    multiplyOnTop(backend, dx, { matrix: dx, from }, product);
  });
}

/** dA and dB of each branch, followed by the gradient of its magnitude where it has one: the order in which ops name them. */
export function withMagnitudes(
  layers: readonly { readonly lora: Branch | null }[],
  gradients: readonly TensorInfo[],
  dmagnitudes: readonly (TensorInfo | null)[],
): TensorInfo[] {
  let next = 0;
  return layers.flatMap(({ lora }, n) => {
    if (lora === null) return [];
    const both = [gradients[next++]!, gradients[next++]!];
    const dmagnitude = dmagnitudes[n];
    return dmagnitude ? [...both, dmagnitude] : both;
  });
}
