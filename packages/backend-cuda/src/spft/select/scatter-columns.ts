/** @file Kept columns back in their places. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { CudaKernels } from '../contract.js';
import { kernelOf, overColumns } from './column-moves.js';

type Info = tf.TensorInfo;

/** x [T, kept] in the columns `indices` of y [T, total], which is of x's type, and zeros in the others. @returns y. */
export function scatterColumns(backend: CudaBackend, x: Info, indices: Info, y: Info): Info {
  const [rows, kept] = x.shape as [number, number];
  const total = y.shape[1]!;
  return overColumns(backend, y, (count, full, run) => {
    const addresses = [backend.address(x), backend.address(indices), backend.address(y)];
    run(kernelOf(backend, x, 'scatter_columns', 'pppiiiii'), [...addresses, rows, kept, total, count, full]);
  });
}

/** Kernels of the contract. */
export const scatterColumnsKernels = {
  SpftScatterColumns: ({ backend, inputs: { x, indices }, attributes: { total } }) =>
    scatterColumns(backend, x, indices, backend.output([x.shape[0]!, total], x.dtype, backend.physical(x))),
} satisfies CudaKernels;
