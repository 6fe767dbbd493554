/** @file Which channels have the highest scores. */
import type { BlasKernel } from '../../shared/call.js';

/** The `kept` highest scores, of equal ones the first; by the score that the last of them has. */
export const topKSelection: BlasKernel<'SpftTopKSelection'> = (call, { scores }, { kept }) => {
  const values = call.values(scores!);
  const indices = call.output([kept], 'int32');
  const chosen = call.values(indices);
  const threshold = values.slice().sort()[values.length - kept]!;
  let above = 0;
  for (const value of values) if (value > threshold) above++;
  let equal = kept - above;
  let next = 0;
  for (let i = 0; i < values.length && next < kept; i++) {
    if (values[i]! > threshold || (values[i] === threshold && equal-- > 0)) chosen[next++] = i;
  }
  // Of scores that are no numbers some are chosen all the same, as the count is promised.
  for (let i = 0; next < kept; i++) chosen[next++] = i;
  return indices;
};
