/** @file Selections and random inputs for tests. */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../src/contract/types.js';

export const selectionOf = (total: number, indices: readonly number[]): ChannelSelection => ({
  indices: tf.tensor1d(indices as number[], 'int32'),
  kept: indices.length,
  total,
});

/** Every second channel from the second on, and the last: neighbours and gaps, never empty. */
export const someOf = (total: number): ChannelSelection => {
  const indices = Array.from({ length: total }, (_, i) => i).filter((i) => i % 2 === 1 || i === total - 1);
  return selectionOf(total, indices);
};

export const indicesOf = (keep: ChannelSelection): Int32Array => keep.indices.dataSync() as Int32Array;

export const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
export const random2d = (rows: number, columns: number, seed: number) => random([rows, columns], seed) as tf.Tensor2D;
export const random1d = (n: number, seed: number) => random([n], seed) as tf.Tensor1D;
export const valuesOf = (t: tf.Tensor) => t.dataSync() as Float32Array;
