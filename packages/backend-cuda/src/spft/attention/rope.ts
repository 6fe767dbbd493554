/** @file Rotary position embedding; its gradient is the rotation the other way. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/**
 * @param xs [T, headsᵢ·d]: one matrix, or two of one type, which one launch turns. @param cos [T, d/2]. @param sin [T, d/2].
 * @returns each with dimensions i and i + d/2 of each head turned, in its type, owned by the caller.
 */
function turned(
  backend: CudaBackend,
  xs: readonly Info[],
  cos: Info,
  sin: Info,
  headDim: number,
  inverse: boolean,
): Info[] {
  const X = typeOf(backend, ...xs);
  const rows = cos.shape[0]!;
  const half = headDim / 2;
  const heads = xs.map((x) => x.shape[1]! / headDim);
  return inScope(backend, (scope) => {
    const from = xs.map((x) => scope.address(x, X));
    const tables = [cos, sin].map((table) => scope.address(table, 'f32'));
    const ys = xs.map((x) => scope.output(x.shape, 'float32', X));
    const to = ys.map((y) => backend.address(y));
    const octets = Math.ceil(half / 8);
    const all = heads.reduce((sum, n) => sum + n, 0);
    if (octets * all * rows === 0) return ys;
    // Two heads to a thread, and whole rows to a block.
    const across = octets * Math.min(Math.ceil(all / 2), Math.max(1, Math.floor(256 / octets)));
    const down = Math.max(1, Math.floor(256 / across));
    const kernel = backend.kernel('rope', 'rope', 'ppppppiiiifi', { X: C_TYPE[X] });
    const numbers = [rows, heads[0]!, heads[1] ?? 0, half, inverse ? -1 : 1, aligned(half, ...from, ...to, ...tables)];
    const args = [from[0]!, from[1] ?? 0, ...tables, to[0]!, to[1] ?? 0, ...numbers];
    backend.launch(kernel, [Math.ceil(rows / down)], [across, down], args);
    return ys;
  });
}

/** x [T, heads·d] turned by the angles of its rows; the rest as of `turned`. */
export const rope = (backend: CudaBackend, x: Info, cos: Info, sin: Info, headDim: number, inverse: boolean): Info =>
  turned(backend, [x], cos, sin, headDim, inverse)[0]!;

/** Both of them. */
export function ropeOfBoth(
  backend: CudaBackend,
  [q, k]: readonly [Info, Info],
  cos: Info,
  sin: Info,
  headDim: number,
  inverse: boolean,
): [Info, Info] {
  if (backend.physical(q) === backend.physical(k)) {
    return turned(backend, [q, k], cos, sin, headDim, inverse) as [Info, Info];
  }
  const first = rope(backend, q, cos, sin, headDim, inverse);
  try {
    return [first, rope(backend, k, cos, sin, headDim, inverse)];
  } catch (error) {
    backend.release(first);
    throw error;
  }
}

declareVariants('rope', combinations({ X: FLOATS }));

/** Kernels of the contract. */
export const ropeKernels = {
  SpftRope: ({ backend, inputs: { x, cos, sin }, attributes: { headDim, inverse } }) =>
    rope(backend, x, cos, sin, headDim, inverse),
} satisfies CudaKernels;
