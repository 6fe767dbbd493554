/** @file RMSNorm with a frozen weight, and its gradient. */
import type { BlasKernel } from '../../shared/call.js';

export const rmsNorm: BlasKernel<'SpftRmsNorm'> = (call, { x, weight }, { eps }) => {
  const [T, H] = x!.shape as [number, number];
  const y = call.output(x!.shape);
  call.share('rmsNorm', T, H, call.at(x!), call.at(weight!), call.at(y), H, eps);
  return y;
};

export const rmsNormGrad: BlasKernel<'SpftRmsNormGrad'> = (call, { x, weight, dy }, { eps }) => {
  const [T, H] = x!.shape as [number, number];
  const dx = call.output(x!.shape);
  call.share('rmsNormGrad', T, 2 * H, call.at(x!), call.at(weight!), call.at(dy!), call.at(dx), H, eps);
  return dx;
};
