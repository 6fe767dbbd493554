/** @file What every op on a `ChannelSelection` checks of it. */
import type * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';

/**
 * @param what the tensor whose channels are selected, for the message.
 * @throws RangeError when the selection is of another number of channels than `channels`, or contradicts itself; TypeError for a dtype.
 */
export function checkSelection(op: string, keep: ChannelSelection, what: string, channels: number): void {
  if (keep.total !== channels) {
    throw new RangeError(`${op}: the selection is of ${keep.total} channels, ${what} has ${channels}`);
  }
  const { indices, kept } = keep;
  if (indices.rank !== 1 || indices.shape[0] !== kept || kept > keep.total) {
    throw new RangeError(
      `${op}: the selection keeps ${kept} of ${keep.total} channels and holds indices [${indices.shape}]; wanted one index for each kept`,
    );
  }
  if (indices.dtype !== 'int32')
    throw new TypeError(`${op}: indices of a selection are ${indices.dtype}, must be int32`);
}

/** @throws RangeError unless x is a matrix. */
export function checkMatrix(op: string, name: string, x: tf.Tensor): void {
  if (x.rank !== 2) throw new RangeError(`${op}: ${name} [${x.shape}] must have two dimensions`);
}
