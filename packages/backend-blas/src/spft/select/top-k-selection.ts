/** @file Which channels have the highest scores. */
import type { BlasKernel } from '../../shared/call.js';

export const topKSelection: BlasKernel<'SpftTopKSelection'> = (call, { scores }, { kept }) => {
  const indices = call.output([kept], 'int32');
  chooseHighest(call.values(scores!), call.values(indices));
  return indices;
};

/** As many of the highest scores as `chosen` has room for, ascending, of equal ones the first; by the score that the last of them has. */
export function chooseHighest(scores: Float32Array, chosen: Float32Array | Int32Array): void {
  const kept = chosen.length;
  const threshold = scores.slice().sort()[scores.length - kept]!;
  let above = 0;
  for (const value of scores) if (value > threshold) above++;
  let equal = kept - above;
  let next = 0;
  for (let i = 0; i < scores.length && next < kept; i++) {
    if (scores[i]! > threshold || (scores[i] === threshold && equal-- > 0)) chosen[next++] = i;
  }
  // Of scores that are no numbers some are chosen all the same, as the count is promised.
  for (let i = 0; next < kept; i++) chosen[next++] = i;
}
