/**
 * @file Sparse linear by kept columns: a frozen linear layer whose input has its kept channels alone (SparseLoRA section 3: down and o;
 * upstream `spft/modules/linear.py`, mode `in`).
 *
 * The kept columns are gathered for the forward and again for the backward, for the reason that linear-kept-rows.ts gives. Where plain
 * products are preferred the forward gathers them transposed, which costs no more than gathering.
 */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import { takeColumns, takeColumnsTransposed } from '../engine/columns.js';
import { matMul2d, prefersPlainProducts } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { storedMatrixOf } from '../forms/stored-matrix.js';
import { checkMatrix, checkSelection } from '../select/selection.js';
import { timesPlain, timesPlainTransposed } from './plain-product.js';

/**
 * @param x [T, kept]: the kept columns of the layer's input, as `gatherColumns` or `linearKeptRows` gives them.
 * @param weight [out, in], frozen.
 * @param keep selection of the in channels; its indices must live until the gradient has been taken.
 * @param bias [out], frozen, or null.
 * @returns [T, out], owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function linearKeptColumns(
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  keep: ChannelSelection,
  bias: tf.Tensor1D | null = null,
): tf.Tensor2D {
  checkMatrix('linearKeptColumns', 'x', x);
  checkSelection('linearKeptColumns', keep, `weight [${weight.shape}] with its columns`, weight.shape[1]);
  if (x.shape[1] !== keep.kept || (bias !== null && bias.size !== weight.shape[0])) {
    throw new RangeError(
      `linearKeptColumns: x [${x.shape}] must have one column for each of ${keep.kept} kept channels, and bias ` +
        `[${bias?.shape ?? 'none'}] one number for each row of weight [${weight.shape}]; pass weight as [out, in]`,
    );
  }
  const { indices } = keep;
  const stored = storedMatrixOf(weight);
  const frozen = outliving(stored ? [] : [weight]);
  const op = tf.customGrad((input, save) => {
    const x = input as tf.Tensor2D;
    const value = stored
      ? tf.tidy(() => timesPlain(x, stored.columns(indices), bias))
      : runOp('SpftLinearKeptColumns', { x, weight, indices, ...(bias && { bias }) }, {}, () => {
          const product = prefersPlainProducts()
            ? matMul2d(x, takeColumnsTransposed(weight, indices))
            : matMul2d(x, takeColumns(weight, indices), false, true);
          return bias ? (tf.add(product, bias) as tf.Tensor2D) : product;
        });
    (save as tf.GradSaveFunc)([indices, ...frozen.saves]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const indices = saved[0] as tf.Tensor1D;
      if (stored) return tf.tidy(() => timesPlainTransposed(dy as tf.Tensor2D, stored.columns(indices)));
      const living = frozen.from(saved.slice(1))(weight);
      return runOp('SpftLinearKeptColumnsGrad', { dy, weight: living, indices }, {}, () =>
        matMul2d(dy as tf.Tensor2D, takeColumns(living, indices)),
      );
    };
    return { value, gradFunc };
  });
  return op(x) as tf.Tensor2D;
}
