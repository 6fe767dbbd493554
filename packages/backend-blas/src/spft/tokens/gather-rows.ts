/** @file Rows by index, and their gradient. */
import type { BlasKernel } from '../../shared/call.js';

/** The rows of x that `index` names, of n numbers each, by JavaScript: for what does not lie in the shared memory. */
export function copyRows(x: Float32Array, index: ArrayLike<number>, n: number, to: Float32Array): void {
  for (let r = 0; r < index.length; r++) to.set(x.subarray(index[r]! * n, (index[r]! + 1) * n), r * n);
}

/** The matrix may be a vocabulary's, which is not worth moving into the shared memory for a few rows. */
export const gatherRows: BlasKernel<'SpftGatherRows'> = (call, { x, rows }) => {
  const n = x!.shape[1]!;
  const y = call.output([rows!.shape[0]!, n]);
  copyRows(call.values(x!), call.values(rows!), n, call.values(y));
  return y;
};

/** Rows named twice add up. */
export const gatherRowsGrad: BlasKernel<'SpftGatherRowsGrad'> = (call, { dy, rows }, { total }) => {
  const [count, n] = dy!.shape as [number, number];
  const dx = call.output([total, n]);
  call.values(dx).fill(0);
  call.pool.kernels.addRowsAt(call.at(dy!), call.at(rows!), count, n, 0, call.at(dx));
  return dx;
};
