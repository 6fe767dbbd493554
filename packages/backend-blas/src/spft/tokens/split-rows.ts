/** @file Dense and sparse rows apart, and together again. */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasKernel } from '../../shared/call.js';

/** Both halves are views: nothing is copied. */
export const splitRows: BlasKernel<'SpftSplitRows'> = (call, { x }, { at }) => {
  const [rows, n] = x!.shape as [number, number];
  return [call.view(x!, [at, n], 0), call.view(x!, [rows - at, n], at * n)];
};

export const joinRows: BlasKernel<'SpftJoinRows'> = (call, { first, second }) => {
  const { pool } = call;
  const [a, b] = [first!, second!].map(({ shape }: tf.TensorInfo) => shape[0]!) as [number, number];
  const n = first!.shape[1]!;
  const y = call.output([a + b, n]);
  pool.call('copy', call.at(first!), call.at(y), 4 * a * n);
  pool.endChunk();
  pool.call('copy', call.at(second!), call.at(y) + 4 * a * n, 4 * b * n);
  pool.endChunk();
  pool.run();
  return y;
};
