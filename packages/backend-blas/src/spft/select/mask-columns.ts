/** @file Columns that are not kept, zeroed on sparse rows. */
import type { BlasKernel } from '../../shared/call.js';

export const maskColumns: BlasKernel<'SpftMaskColumns'> = (call, { x, indices }, { fromRow }) => {
  const [rows, n] = x!.shape as [number, number];
  const y = call.output(x!.shape);
  const [from, to] = [call.values(x!), call.values(y)];
  to.set(from.subarray(0, fromRow * n));
  const skipped = 4 * fromRow * n;
  const kept = indices!.shape[0]!;
  call.share('maskColumns', rows - fromRow, n, call.at(x!) + skipped, n, call.at(indices!), kept, call.at(y) + skipped);
  return y;
};
