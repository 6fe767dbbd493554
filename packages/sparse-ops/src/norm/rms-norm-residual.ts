/**
 * @file RMSNorm at the beginning of a block of a residual stream: the normed rows for the block, and the rows themselves for the sum after it.
 * Their gradients meet here, where a backend's kernel adds them while it computes the norm's. The normed rows are not kept for the block's own
 * backward: x is, and the norm takes a fiftieth of what the block does.
 */
import * as tf from '@tensorflow/tfjs';
import { hasKernel, runKernel } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { recomputed, recordOp } from '../engine/record-op.js';
import { constant, isConstant, noGradient } from '../engine/tape.js';
import { sharing } from '../engine/tfjs-kernels.js';
import { rmsNorm } from './rms-norm.js';

/**
 * @param x [T, H].
 * @param weight [H], frozen.
 * @returns RMSNorm(x) and x, owned by the caller. Differentiable in x.
 * @throws RangeError when the shapes do not fit.
 */
export function rmsNormResidual(x: tf.Tensor2D, weight: tf.Tensor1D, eps: number): [tf.Tensor2D, tf.Tensor2D] {
  if (!hasKernel('SpftRmsNorm') || !hasKernel('SpftRmsNormResidualGrad')) return [rmsNorm(x, weight, eps), tf.clone(x)];
  if (x.rank !== 2 || weight.rank !== 1 || x.shape[1] !== weight.shape[0]) {
    throw new RangeError(
      `rmsNormResidual: x [${x.shape}] must be [T, H] with H the length of weight [${weight.shape}]`,
    );
  }
  const frozen = outliving([weight]);
  const normed = (x: tf.Tensor2D) =>
    recomputed(runKernel('SpftRmsNorm', { x, weight }, { eps }), [x, ...frozen.saves], ([x, ...saved]) =>
      runKernel('SpftRmsNorm', { x: x!, weight: frozen.from(saved)(weight) }, { eps, again: true }),
    );
  if (isConstant(x)) {
    const outputs = noGradient(() => [normed(x), sharing(x)] as [tf.Tensor2D, tf.Tensor2D]);
    return [constant(outputs[0]), constant(outputs[1])];
  }
  return recordOp<[tf.Tensor2D, tf.Tensor2D]>({
    name: 'SpftRmsNormResidual',
    inputs: { x },
    saves: [x],
    reads: [weight],
    run: () => ({ outputs: [normed(x), sharing(x)], kept: [] }),
    gradient: ([dy, dresidual], [x], living) => {
      const inputs = { x: x!, weight: living(weight), dy: dy!, dresidual: dresidual! };
      return { x: runKernel('SpftRmsNormResidualGrad', inputs, { eps }) };
    },
  });
}
