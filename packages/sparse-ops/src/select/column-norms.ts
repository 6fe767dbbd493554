/** @file L2 norm over tokens of each column: the oracles' score of a channel. */
import * as tf from '@tensorflow/tfjs';
import { columnDots } from '../engine/column-dots.js';
import { runOp } from '../engine/op.js';
import { checkMatrix } from './selection.js';

/**
 * @param x [T, n].
 * @returns [n], owned by the caller; zero without tokens. Differentiable in x; zero where a norm is.
 * @throws RangeError when x is no matrix.
 */
export function columnNorms(x: tf.Tensor2D): tf.Tensor1D {
  checkMatrix('columnNorms', 'x', x);
  const op = tf.customGrad((x, save) => {
    const value = runOp('SpftColumnNorms', { x: x as tf.Tensor }, {}, () =>
      tf.sqrt(columnDots(x as tf.Tensor2D, x as tf.Tensor2D)),
    ) as tf.Tensor1D;
    (save as tf.GradSaveFunc)([x as tf.Tensor, value]);
    const gradFunc = (dy: tf.Tensor, [x, norms]: tf.Tensor[]) =>
      x!.size === 0 ? tf.zerosLike(x!) : tf.tidy(() => tf.mul(x!, tf.divNoNan(dy, norms!)));
    return { value, gradFunc };
  });
  return op(x) as tf.Tensor1D;
}
