/** @file The transpose of a matrix, or of its kept columns. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { CudaKernels } from '../contract.js';
import { kernelOf } from '../select/column-moves.js';

type Info = tf.TensorInfo;

/** x[:, indices]ᵀ [kept, T], or xᵀ without indices; owned by the caller. */
export function transposed(backend: CudaBackend, x: Info, indices?: Info): Info {
  const [rows, n] = x.shape as [number, number];
  const kept = indices ? indices.shape[0]! : n;
  const y = backend.output([kept, rows], x.dtype, backend.physical(x));
  const kernel = kernelOf(backend, x, 'transpose', 'pppiii');
  const addresses = [backend.address(x), indices ? backend.address(indices) : 0, backend.address(y)];
  backend.launch(kernel, [Math.ceil(kept / 32), Math.ceil(rows / 32)], [32, 8], [...addresses, rows, n, kept]);
  return y;
}

/** Kernels of the contract. */
export const transposeKernels = {
  SpftGatherColumnsTransposed: ({ backend, inputs: { x, indices } }) => transposed(backend, x, indices),
  SpftTranspose2d: ({ backend, inputs: { x } }) => transposed(backend, x),
} satisfies CudaKernels;
