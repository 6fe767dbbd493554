/**
 * @file RMSNorm (Zhang and Sennrich 2019, arXiv:1910.07467) with a frozen weight: y = w ⊙ x / √(mean(x²) + ε) for each row.
 */
import * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { rmsNormGradOnHost, rmsNormOnHost } from '../kernels/host/rms-norm.js';

registerHostKernel('SpftRmsNorm', rmsNormOnHost);
registerHostKernel('SpftRmsNormGrad', rmsNormGradOnHost);

/** 1/√(mean(x²) + ε), [T, 1]. */
const inverseRms = (x: tf.Tensor2D, eps: number): tf.Tensor2D =>
  tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), eps)) as tf.Tensor2D;

/**
 * @param x [T, H].
 * @param weight [H], frozen.
 * @returns [T, H], owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function rmsNorm(x: tf.Tensor2D, weight: tf.Tensor1D, eps: number): tf.Tensor2D {
  if (x.rank !== 2 || weight.rank !== 1 || x.shape[1] !== weight.shape[0]) {
    throw new RangeError(`rmsNorm: x [${x.shape}] must be [T, H] with H the length of weight [${weight.shape}]`);
  }
  const frozen = outliving([weight]);
  const op = tf.customGrad((input, save) => {
    const x = input as tf.Tensor2D;
    const value = runOp('SpftRmsNorm', { x, weight }, { eps }, () => tf.mul(tf.mul(x, inverseRms(x, eps)), weight));
    (save as tf.GradSaveFunc)([x, ...frozen.saves]);
    const gradFunc = (dy: tf.Tensor, [x, ...saved]: tf.Tensor[]) => {
      const living = frozen.from(saved)(weight);
      return runOp('SpftRmsNormGrad', { x: x!, weight: living, dy }, { eps }, () => {
        const scale = inverseRms(x as tf.Tensor2D, eps);
        const normed = tf.mul(x!, scale);
        const g = tf.mul(dy, living);
        return tf.mul(scale, tf.sub(g, tf.mul(normed, tf.mean(tf.mul(g, normed), 1, true))));
      });
    };
    return { value, gradFunc };
  });
  return op(x) as tf.Tensor2D;
}
