/** @file Norms of columns. */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasKernel } from '../../shared/call.js';
import { columnDots } from '../engine/column-dots.js';

export const columnNorms: BlasKernel<'SpftColumnNorms'> = (call, { x }) => {
  const y = columnDots(call, { a: x!, b: x! }, {}) as tf.TensorInfo;
  const values = call.values(y);
  for (let c = 0; c < values.length; c++) values[c] = Math.sqrt(values[c]!);
  return y;
};
