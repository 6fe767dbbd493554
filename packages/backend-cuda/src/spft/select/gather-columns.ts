/** @file Kept columns next to each other. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import type { CudaKernels } from '../contract.js';
import { bytesOf, kernelOf } from './column-moves.js';

type Info = tf.TensorInfo;

/**
 * @param x [T, n]. @param indices int32 [kept].
 * @returns x[:, indices] [T, kept], owned by the caller.
 */
export function gatherColumns(backend: CudaBackend, x: Info, indices: Info): Info {
  const y = backend.output([x.shape[0]!, indices.shape[0]!], x.dtype, backend.physical(x));
  gatherColumnsTo(backend, x, indices, backend.address(y), indices.shape[0]!);
  return y;
}

/** The same into a matrix of x's type at an address, whose rows are `stride` elements apart. */
export function gatherColumnsTo(backend: CudaBackend, x: Info, indices: Info, to: number, stride: number): void {
  const [rows, n] = x.shape as [number, number];
  const kept = indices.shape[0]!;
  const paired = stride % 2 === 0 && kept % 2 === 0 && to % (2 * bytesOf(backend, x)) === 0 ? 1 : 0;
  const kernel = kernelOf(backend, x, 'gather_columns', 'pppiiiii');
  // Neighbouring threads have neighbouring pairs of columns; blocks of a width that leaves the fewest of them idle, and threads for more rows.
  const blocks = (width: number) => Math.ceil(kept / (2 * width));
  const across = [128, 64, 32].reduce((best, width) => (blocks(width) * width < blocks(best) * best ? width : best));
  const down = 128 / across;
  const grid = [blocks(across), Math.min(65535, Math.ceil(rows / (8 * down)))] as const;
  const numbers = [rows, n, kept, stride, paired];
  backend.launch(kernel, grid, [across, down], [backend.address(x), backend.address(indices), to, ...numbers]);
}

/** Kernels of the contract. */
export const gatherColumnsKernels = {
  SpftGatherColumns: ({ backend, inputs: { x, indices } }) => gatherColumns(backend, x, indices),
} satisfies CudaKernels;
