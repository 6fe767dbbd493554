/** @file The transpose of a matrix. */
import type { BlasKernel } from '../../shared/call.js';

export const transpose2d: BlasKernel<'SpftTranspose2d'> = (call, { x }) => {
  const [rows, columns] = x!.shape as [number, number];
  const y = call.output([columns, rows]);
  call.share('transpose', columns, rows, call.at(x!), rows, columns, call.at(y));
  return y;
};
