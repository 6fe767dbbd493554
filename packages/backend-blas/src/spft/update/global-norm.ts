/** @file The norm of all gradients together. */
import { sizeOf } from '../../backend.js';
import type { BlasKernel } from '../../shared/call.js';

export const globalNorm: BlasKernel<'SpftGlobalNorm'> = (call, inputs, { count }) => {
  const norm = call.output([]);
  let sum = 0;
  for (let n = 0; n < count; n++) {
    const t = inputs[`t${n}`]!;
    sum += call.pool.kernels.squares(call.at(t), sizeOf(t.shape));
  }
  call.values(norm)[0] = Math.sqrt(sum);
  return norm;
};
