/** @file The kept columns of an activation, next to each other. */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import { putColumns, takeColumns } from '../engine/columns.js';
import { checkMatrix, checkSelection } from './selection.js';

/**
 * @param x [T, n].
 * @param keep selection of the n columns; its indices must live until the gradient has been taken.
 * @returns [T, kept], owned by the caller. Differentiable in x: dropped columns get zero.
 * @throws RangeError when the selection is not of n channels.
 */
export function gatherColumns(x: tf.Tensor2D, keep: ChannelSelection): tf.Tensor2D {
  checkMatrix('gatherColumns', 'x', x);
  checkSelection('gatherColumns', keep, `x [${x.shape}]`, x.shape[1]);
  const op = tf.customGrad((x, save) => {
    const value = takeColumns(x as tf.Tensor2D, keep.indices);
    (save as tf.GradSaveFunc)([keep.indices]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, [indices]: tf.Tensor[]) =>
        putColumns(dy as tf.Tensor2D, indices as tf.Tensor1D, keep.total),
    };
  });
  return op(x) as tf.Tensor2D;
}
