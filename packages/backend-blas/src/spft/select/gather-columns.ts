/** @file Kept columns next to each other, as they are or transposed. */
import type { BlasKernel } from '../../shared/call.js';

export const gatherColumns: BlasKernel<'SpftGatherColumns'> = (call, { x, indices }) => {
  const [rows, n] = x!.shape as [number, number];
  const kept = indices!.shape[0]!;
  const y = call.output([rows, kept]);
  call.share('gatherColumns', rows, kept, call.at(x!), n, call.at(indices!), kept, call.at(y));
  return y;
};

export const gatherColumnsTransposed: BlasKernel<'SpftGatherColumnsTransposed'> = (call, { x, indices }) => {
  const [rows, n] = x!.shape as [number, number];
  const kept = indices!.shape[0]!;
  const y = call.output([kept, rows]);
  const gathered = call.scratch(rows * kept);
  call.share('gatherColumns', rows, kept, call.at(x!), n, call.at(indices!), kept, gathered);
  call.share('transpose', kept, rows, gathered, rows, kept, call.at(y));
  return y;
};
