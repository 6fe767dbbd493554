/**
 * @file From scores to selections: how many channels are kept, over the layer or in each head, and null where that is all of them.
 */
import { type ChannelSelection, type HeadLayout, keptChannels, topKSelection } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';

/** The channels with the highest scores, `keptChannels` of them; null when nothing would be dropped. Owned by the caller. */
export function selectChannels(scores: tf.Tensor1D, sparsity: number, multiple: number): ChannelSelection | null {
  const total = scores.size;
  const kept = keptChannels(total, sparsity, multiple);
  return kept >= total ? null : topKSelection(scores, kept);
}

/**
 * The channels with the highest scores of each kv head, equally many in each (`qk_per_head`); null when nothing would be dropped.
 * @param scores [K·d].
 */
export function selectChannelsPerHead(
  scores: tf.Tensor1D,
  sparsity: number,
  multiple: number,
  { kvHeads, headDim }: HeadLayout,
): ChannelSelection | null {
  const kept = keptPerHead(kvHeads, headDim, sparsity, multiple);
  if (kept >= headDim) return null;
  const indices = tf.tidy(() => {
    const ofHead = Array.from({ length: kvHeads }, (_, h) => {
      const { indices } = topKSelection(tf.slice(scores, [h * headDim], [headDim]), kept);
      return tf.add(indices, tf.scalar(h * headDim, 'int32')) as tf.Tensor1D;
    });
    return tf.concat(ofHead);
  });
  return { indices, kept: kept * kvHeads, total: scores.size };
}

/** Kept channels of one head, such that those of all heads together are a multiple of `multiple`. */
export function keptPerHead(kvHeads: number, headDim: number, sparsity: number, multiple: number): number {
  return keptChannels(headDim, sparsity, multiple / greatestCommonDivisor(kvHeads, multiple));
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
