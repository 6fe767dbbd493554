/** @file Kept columns back in their places. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { CudaKernels } from '../contract.js';
import { bytesOf, kernelOf, overColumns } from './column-moves.js';

type Info = tf.TensorInfo;

/**
 * Columns of x [T, n], as many as there are indices, in the columns `indices` of y [T, total], which is of x's type, and zeros in the others.
 * @param at which column of x is the first.
 * @returns y.
 */
export function scatterColumns(backend: CudaBackend, x: Info, indices: Info, y: Info, at = 0): Info {
  const [rows, stride] = x.shape as [number, number];
  const [kept, total] = [indices.shape[0]!, y.shape[1]!];
  return overColumns(backend, y, (count, full, run) => {
    const from = backend.address(x) + at * bytesOf(backend, x);
    const addresses = [from, backend.address(indices), backend.address(y)];
    run(kernelOf(backend, x, 'scatter_columns', 'pppiiiiii'), [...addresses, rows, kept, stride, total, count, full]);
  });
}

/** Kernels of the contract. */
export const scatterColumnsKernels = {
  SpftScatterColumns: ({ backend, inputs: { x, indices }, attributes: { total } }) =>
    scatterColumns(backend, x, indices, backend.output([x.shape[0]!, total], x.dtype, backend.physical(x))),
} satisfies CudaKernels;
