/**
 * @file Sparse linear by kept rows: the kept output channels of a frozen linear layer, and nothing of the others (SparseLoRA section 3:
 * gate, up, q, k, v; upstream `spft/modules/linear.py`, mode `out`).
 *
 * The kept rows are gathered once for the forward and once more for the backward. Keeping them would cost the kept share of every weight
 * for the whole step; gathering 384 of 768 rows takes 0.14 ms on wasm, the product with 600 tokens 15 ms.
 */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import { matMul2d } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { storedMatrixOf } from '../forms/stored-matrix.js';
import { checkMatrix, checkSelection } from '../select/selection.js';
import { takeRows } from '../tokens/gather-rows.js';
import { timesPlain, timesPlainTransposed } from './plain-product.js';

const takeOfVector = (v: tf.Tensor1D, indices: tf.Tensor1D): tf.Tensor1D =>
  tf.reshape(takeRows(tf.reshape(v, [-1, 1]), indices), [-1]);

/**
 * @param x [T, in].
 * @param weight [out, in], frozen.
 * @param keep selection of the out channels; its indices must live until the gradient has been taken.
 * @param bias [out], frozen, or null.
 * @returns [T, kept], owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function linearKeptRows(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  keep: ChannelSelection,
  bias: tf.Tensor1D | null = null,
): tf.Tensor2D {
  checkMatrix('linearKeptRows', 'x', x);
  checkSelection('linearKeptRows', keep, `weight [${weight.shape}]`, weight.shape[0]);
  if (x.shape[1] !== weight.shape[1] || (bias !== null && bias.size !== weight.shape[0])) {
    throw new RangeError(
      `linearKeptRows: x [${x.shape}] must have as many columns as weight [${weight.shape}], and bias ` +
        `[${bias?.shape ?? 'none'}] one number for each of its rows; pass weight as [out, in]`,
    );
  }
  const { indices } = keep;
  const stored = storedMatrixOf(weight);
  const frozen = outliving(stored ? [] : [weight]);
  const op = tf.customGrad((input, save) => {
    const x = input as tf.Tensor2D;
    const value = stored
      ? tf.tidy(() => timesPlain(x, stored.rows(indices), bias && takeOfVector(bias, indices)))
      : runOp('SpftLinearKeptRows', { x, weight, indices, ...(bias && { bias }) }, {}, () => {
          const product = matMul2d(x, takeRows(weight, indices), false, true);
          return bias ? (tf.add(product, takeOfVector(bias, indices)) as tf.Tensor2D) : product;
        });
    (save as tf.GradSaveFunc)([indices, ...frozen.saves]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const indices = saved[0] as tf.Tensor1D;
      if (stored) return tf.tidy(() => timesPlainTransposed(dy as tf.Tensor2D, stored.rows(indices)));
      const living = frozen.from(saved.slice(1))(weight);
      return runOp('SpftLinearKeptRowsGrad', { dy, weight: living, indices }, {}, () =>
        matMul2d(dy as tf.Tensor2D, takeRows(living, indices)),
      );
    };
    return { value, gradFunc };
  });
  return op(x) as tf.Tensor2D;
}
