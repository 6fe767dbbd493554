/** @file Dropout by a counter: the mask of every other backend, bit for bit. */
import { sizeOf } from '../../backend.js';
import type { BlasKernel } from '../../shared/call.js';

/** lowbias32 (Wellons 2018): spreads a seed over 32 bits, as sparse-ops has it. */
function spread(seed: number): number {
  let h = seed | 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  return h ^ (h >>> 16);
}

export const dropout: BlasKernel<'SpftDropout'> = (call, { x }, { rate, seed }) => {
  const y = call.output(x!.shape);
  const before = spread(seed);
  const within = spread(before ^ 0x9e3779b9);
  const dropBelow = Math.round(rate * 2 ** 32) - 2 ** 31;
  call.share('dropout', sizeOf(y.shape), 2, call.at(x!), call.at(y), before, within, dropBelow, 1 / (1 - rate));
  return y;
};
