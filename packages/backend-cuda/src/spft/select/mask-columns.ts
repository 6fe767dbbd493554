/** @file Columns that are not kept, zeroed on sparse rows. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { CudaKernels } from '../contract.js';
import { kernelOf, overColumns } from './column-moves.js';

type Info = tf.TensorInfo;

/** x [T, n] with zeros in all columns but `indices` from row `fromRow` on; owned by the caller. */
export function maskColumns(backend: CudaBackend, x: Info, indices: Info, fromRow: number): Info {
  const [rows, total] = x.shape as [number, number];
  if (fromRow >= rows) return backend.share(x);
  return masked(backend, x, indices, fromRow, backend.output([rows, total], x.dtype, backend.physical(x)));
}

/** The same where x lies. */
export function maskInPlace(backend: CudaBackend, x: Info, indices: Info, fromRow: number): void {
  const [rows, total] = x.shape as [number, number];
  if (fromRow >= rows) return;
  const slice = backend.view(x, [rows - fromRow, total], fromRow * total);
  masked(backend, slice, indices, 0, slice);
  backend.release(slice);
}

function masked(backend: CudaBackend, x: Info, indices: Info, fromRow: number, y: Info): Info {
  const [rows, total] = x.shape as [number, number];
  return overColumns(backend, y, (count, full, run) => {
    const addresses = [backend.address(x), backend.address(indices), backend.address(y)];
    const fullWidth = full === 1 && addresses[0]! % 16 === 0 ? 1 : 0;
    const numbers = [rows, indices.shape[0]!, total, fromRow, count, fullWidth];
    run(kernelOf(backend, x, 'mask_columns', 'pppiiiiii'), [...addresses, ...numbers]);
  });
}

/** Kernels of the contract. */
export const maskColumnsKernels = {
  SpftMaskColumns: ({ backend, inputs: { x, indices }, attributes: { fromRow } }) =>
    maskColumns(backend, x, indices, fromRow),
} satisfies CudaKernels;
