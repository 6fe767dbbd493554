/** @file Rotary position embedding; its gradient is the rotation the other way. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/**
 * @param x [T, heads·d]. @param cos [T, d/2]. @param sin [T, d/2].
 * @returns x with dimensions i and i + d/2 of each head turned, in x's type, owned by the caller.
 */
export function rope(backend: CudaBackend, x: Info, cos: Info, sin: Info, headDim: number, inverse: boolean): Info {
  const X = typeOf(backend, x);
  const [rows, n] = x.shape as [number, number];
  const [heads, half] = [n / headDim, headDim / 2];
  return inScope(backend, (scope) => {
    const from = scope.address(x, X);
    const tables = [cos, sin].map((table) => scope.address(table, 'f32'));
    const y = scope.output([rows, n], 'float32', X);
    const to = backend.address(y);
    const octets = Math.ceil(half / 8);
    if (octets * heads === 0) return y;
    // Two heads to a thread, and whole rows to a block.
    const across = octets * Math.min(Math.ceil(heads / 2), Math.max(1, Math.floor(256 / octets)));
    const down = Math.max(1, Math.floor(256 / across));
    const kernel = backend.kernel('rope', 'rope', 'ppppiiifi', { X: C_TYPE[X] });
    const numbers = [rows, heads, half, inverse ? -1 : 1, aligned(half, from, to, ...tables)];
    backend.launch(kernel, [Math.ceil(rows / down)], [across, down], [from, ...tables, to, ...numbers]);
    return y;
  });
}

declareVariants('rope', combinations({ X: FLOATS }));

/** Kernels of the contract. */
export const ropeKernels = {
  SpftRope: ({ backend, inputs: { x, cos, sin }, attributes: { headDim, inverse } }) =>
    rope(backend, x, cos, sin, headDim, inverse),
} satisfies CudaKernels;
