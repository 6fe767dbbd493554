/** @file Sums of products down columns. */
import type { BlasKernel } from '../../shared/call.js';

export const columnDots: BlasKernel<'SpftColumnDots'> = (call, { a, b }) => {
  const [rows, n] = a!.shape as [number, number];
  const y = call.output([n]);
  call.share('columnDots', n, rows, call.at(a!), call.at(b!), rows, n, call.at(y));
  return y;
};
