/** @file RMSNorm with a frozen weight, and its gradient. */
import type * as tf from '@tensorflow/tfjs-core';
import type { BlasKernel, Call } from '../../shared/call.js';

export const rmsNorm: BlasKernel<'SpftRmsNorm'> = (call, { x, weight }, { eps }) => {
  const [T, H] = x!.shape as [number, number];
  const y = call.output(x!.shape);
  call.share('rmsNorm', T, H, call.at(x!), call.at(weight!), call.at(y), H, eps);
  return y;
};

/** @param dresidual what x gets elsewhere, added; or null. */
function gradient(
  call: Call,
  [x, weight, dy]: readonly [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo],
  dresidual: tf.TensorInfo | null,
  eps: number,
): tf.TensorInfo {
  const [T, H] = x.shape as [number, number];
  const dx = call.output(x.shape);
  const added = dresidual ? call.at(dresidual) : 0;
  call.share('rmsNormGrad', T, 2 * H, call.at(x), call.at(weight), call.at(dy), call.at(dx), added, H, eps);
  return dx;
}

export const rmsNormGrad: BlasKernel<'SpftRmsNormGrad'> = (call, { x, weight, dy }, { eps }) =>
  gradient(call, [x!, weight!, dy!], null, eps);

export const rmsNormResidualGrad: BlasKernel<'SpftRmsNormResidualGrad'> = (
  call,
  { x, weight, dy, dresidual },
  { eps },
) => gradient(call, [x!, weight!, dy!], dresidual!, eps);
