/** @file SwiGLU and its gradient. */
import { sizeOf } from '../../backend.js';
import type { BlasKernel } from '../../shared/call.js';

export const swiglu: BlasKernel<'SpftSwiglu'> = (call, { gate, up }) => {
  const y = call.output(gate!.shape);
  call.share('swiglu', sizeOf(y.shape), 4, call.at(gate!), call.at(up!), call.at(y));
  return y;
};

export const swigluGrad: BlasKernel<'SpftSwigluGrad'> = (call, { gate, up, dy }) => {
  const outputs = [call.output(gate!.shape), call.output(gate!.shape)];
  call.share('swigluGrad', sizeOf(gate!.shape), 6, ...[gate!, up!, dy!, ...outputs].map((info) => call.at(info)));
  return outputs;
};
