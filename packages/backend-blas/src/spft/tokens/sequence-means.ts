/** @file The mean of the rows of each sequence. */
import type { BlasKernel } from '../../shared/call.js';

/** Mean of the rows of each sequence. */
export const sequenceMeans: BlasKernel<'SpftSequenceMeans'> = (call, { x }, { sequenceOfRow, shares }) => {
  const [rows, n] = x!.shape as [number, number];
  const y = call.output([shares.length, n]);
  call.values(y).fill(0);
  const scale = call.scratch(shares.length);
  call.backend.heap.f32(scale, shares.length).set(shares);
  if (n > 0) call.pool.kernels.addRowsAt(call.at(x!), call.copy(sequenceOfRow), rows, n, scale, call.at(y));
  return y;
};
