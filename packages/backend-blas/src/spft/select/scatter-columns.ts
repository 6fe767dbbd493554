/** @file Kept columns back in their places. */
import type { BlasKernel } from '../../shared/call.js';

export const scatterColumns: BlasKernel<'SpftScatterColumns'> = (call, { x, indices }, { total }) => {
  const [rows, kept] = x!.shape as [number, number];
  const y = call.output([rows, total]);
  call.share('scatterColumns', rows, total, call.at(x!), kept, call.at(indices!), total, call.at(y));
  return y;
};
