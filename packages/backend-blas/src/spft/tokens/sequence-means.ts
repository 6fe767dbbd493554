/** @file The mean of the rows of each sequence. */
import type { KernelAttributesOf } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import type { Place } from '../../backend.js';
import type { BlasKernel, Call } from '../../shared/call.js';

type Shares = Pick<KernelAttributesOf<'SpftSequenceMeans'>, 'sequenceOfRow' | 'shares'>;

export const sequenceMeans: BlasKernel<'SpftSequenceMeans'> = (call, { x }, { sequenceOfRow, shares }) => {
  const y = call.output([shares.length, x!.shape[1]!]);
  addRowMeans(call, x!, { sequenceOfRow, shares }, call.at(y));
  return y;
};

/** Makes the means [B, n] of the rows of x [T, n] at `means`; zeros for a sequence without rows. */
export function addRowMeans(call: Call, x: tf.TensorInfo, { sequenceOfRow, shares }: Shares, means: Place): void {
  const [rows, n] = x.shape as [number, number];
  const { kernels } = call.pool;
  kernels.zero(means, 4 * shares.length * n);
  const scale = call.scratch(shares.length);
  call.backend.heap.f32(scale, shares.length).set(shares);
  if (n > 0) kernels.addRowsAt(call.at(x), call.copy(sequenceOfRow), rows, n, scale, means);
}
