/** @file Kept columns back in their places among all channels, zeros elsewhere. */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import { putColumns, takeColumns } from '../engine/columns.js';
import { checkMatrix, checkSelection } from './selection.js';

/**
 * @param x [T, kept].
 * @param keep selection whose kept columns x holds; its indices must live until the gradient has been taken.
 * @returns [T, total], owned by the caller. Differentiable in x.
 * @throws RangeError when x has not one column for each kept channel.
 */
export function scatterColumns(x: tf.Tensor2D, keep: ChannelSelection): tf.Tensor2D {
  checkMatrix('scatterColumns', 'x', x);
  checkSelection('scatterColumns', keep, 'the result', keep.total);
  if (x.shape[1] !== keep.kept) {
    throw new RangeError(`scatterColumns: x [${x.shape}] must have one column for each of ${keep.kept} kept channels`);
  }
  const op = tf.customGrad((x, save) => {
    const value = putColumns(x as tf.Tensor2D, keep.indices, keep.total);
    (save as tf.GradSaveFunc)([keep.indices]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, [indices]: tf.Tensor[]) => takeColumns(dy as tf.Tensor2D, indices as tf.Tensor1D),
    };
  });
  return op(x) as tf.Tensor2D;
}
