/** @file Rotary position embedding; its gradient is the rotation the other way. */
import type { BlasKernel } from '../../shared/call.js';

export const rope: BlasKernel<'SpftRope'> = (call, { x, cos, sin }, { headDim, inverse }) => {
  const [T, width] = x!.shape as [number, number];
  const y = call.output(x!.shape);
  const tensors = [x!, cos!, sin!, y].map((info) => call.at(info));
  call.share('rope', T, width, ...tensors, width / headDim, headDim / 2, inverse ? -1 : 1);
  return y;
};
