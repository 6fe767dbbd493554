/**
 * @file Frozen linear layer, y = x·Wᵀ + b: the gradient goes to x alone, as in LoRA training.
 */
import * as tf from '@tensorflow/tfjs';
import { matMul2d } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { storedMatrixOf } from '../forms/stored-matrix.js';
import { frozenProduct } from './frozen-product.js';

/**
 * @param x [T, in].
 * @param weight [out, in], frozen.
 * @param bias [out], frozen, or null.
 * @returns [T, out], owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function linear(x: tf.Tensor2D, weight: tf.Tensor2D, bias: tf.Tensor1D | null = null): tf.Tensor2D {
  if (x.rank !== 2 || x.shape[1] !== weight.shape[1]) {
    throw new RangeError(
      `linear: x [${x.shape}] must have as many columns as weight [${weight.shape}]; pass weight as [out, in]`,
    );
  }
  if (bias !== null && (bias.rank !== 1 || bias.size !== weight.shape[0])) {
    throw new RangeError(`linear: bias [${bias.shape}] must have one number for each row of weight [${weight.shape}]`);
  }
  const stored = storedMatrixOf(weight);
  if (stored) {
    const op = tf.customGrad((input) => ({
      value: stored.times(input as tf.Tensor2D, bias),
      gradFunc: (dy: tf.Tensor) => stored.timesTransposed(dy as tf.Tensor2D),
    }));
    return op(x) as tf.Tensor2D;
  }
  const times = frozenProduct(weight);
  const frozen = outliving([weight]);
  const op = tf.customGrad((input, save) => {
    const value = runOp(
      'SpftLinear',
      bias ? { x: input as tf.Tensor, weight, bias } : { x: input as tf.Tensor, weight },
      {},
      () => {
        const product = times(input as tf.Tensor2D);
        return bias ? tf.add(product, bias) : product;
      },
    );
    (save as tf.GradSaveFunc)(frozen.saves);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const living = frozen.from(saved)(weight);
      return runOp('SpftLinearGrad', { dy, weight: living }, {}, () => matMul2d(dy as tf.Tensor2D, living));
    };
    return { value, gradFunc };
  });
  return op(x) as tf.Tensor2D;
}
