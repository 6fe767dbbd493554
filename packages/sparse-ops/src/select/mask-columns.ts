/** @file Dropped columns set to zero in place, on the sparse rows alone: how an oracle's choice is applied. */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import { runOp } from '../engine/op.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { maskColumnsOnHost } from '../kernels/host/mask-columns.js';
import { checkMatrix, checkSelection } from './selection.js';

registerHostKernel('SpftMaskColumns', maskColumnsOnHost);

function mask(x: tf.Tensor2D, { indices, kept, total }: ChannelSelection, fromRow: number): tf.Tensor2D {
  return runOp('SpftMaskColumns', { x, indices }, { fromRow }, () => {
    const [rows, n] = x.shape;
    if (fromRow === rows || n === 0) return tf.clone(x);
    const ones = kept === 0 ? tf.zeros([total]) : tf.scatterND(tf.expandDims(indices, 1), tf.ones([kept]), [total]);
    if (fromRow === 0) return tf.mul(x, ones);
    return tf.concat([tf.slice(x, [0, 0], [fromRow, n]), tf.mul(tf.slice(x, [fromRow, 0], [rows - fromRow, n]), ones)]);
  });
}

/**
 * @param x [T, n].
 * @param keep selection of the n columns; its indices must live until the gradient has been taken.
 * @param fromRow first row that is masked, 0 to T.
 * @returns [T, n], owned by the caller. Differentiable in x.
 * @throws RangeError when the selection is not of n channels or fromRow is no row.
 */
export function maskColumns(x: tf.Tensor2D, keep: ChannelSelection, fromRow: number): tf.Tensor2D {
  checkMatrix('maskColumns', 'x', x);
  checkSelection('maskColumns', keep, `x [${x.shape}]`, x.shape[1]);
  if (!Number.isInteger(fromRow) || fromRow < 0 || fromRow > x.shape[0]) {
    throw new RangeError(
      `maskColumns: fromRow is ${fromRow}, must be a whole number from 0 to ${x.shape[0]}, the rows`,
    );
  }
  const op = tf.customGrad((x, save) => {
    const value = mask(x as tf.Tensor2D, keep, fromRow);
    (save as tf.GradSaveFunc)([keep.indices]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, [indices]: tf.Tensor[]) =>
        mask(dy as tf.Tensor2D, { ...keep, indices: indices as tf.Tensor1D }, fromRow),
    };
  });
  return op(x) as tf.Tensor2D;
}
