/**
 * @file From kv channels to query channels: grouped-query attention keeps sets of kv channels, which select rows of q and columns of o.
 *
 * `corrected`: kv channel (h, i) belongs with the query channels (h·G + g)·d + i, g < G, the ones that attention multiplies it with.
 * `reference`: upstream's two mappings (`spft/modules/pred.py`), which agree neither with that nor with each other: scores pair kv channel c
 * with query channels g·K·d + c, selection takes c·G … c·G + G − 1, and o's columns are indexed by kv channels as they are.
 */
import {
  type ChannelSelection,
  combineQueryKeyScores as combine,
  queryChannels as correctedQueryChannels,
  type HeadLayout,
} from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { Compat } from './types.js';

/** G: query heads to a kv head. */
const groupSize = ({ heads, kvHeads }: HeadLayout) => heads / kvHeads;

/**
 * Score of each kv channel for q and k together: the mean q score of its group times the k score.
 * @param scoreQ [N·d]. @param scoreK [K·d].
 * @returns [K·d], owned by the caller.
 */
export function combineQueryKeyScores(
  scoreQ: tf.Tensor1D,
  scoreK: tf.Tensor1D,
  layout: HeadLayout,
  compat: Compat,
): tf.Tensor1D {
  if (compat === 'corrected') return combine(scoreQ, scoreK, layout);
  const { kvHeads: K, headDim: d } = layout;
  return tf.tidy(() => tf.mul(tf.mean(tf.reshape(scoreQ, [groupSize(layout), K * d]), 0), scoreK) as tf.Tensor1D);
}

/** Query channels [N·d] that belong with kept kv channels; indices ascending and owned by the caller. */
export function queryChannels(keep: ChannelSelection, layout: HeadLayout, compat: Compat): ChannelSelection {
  if (compat === 'corrected') return correctedQueryChannels(keep, layout);
  const G = groupSize(layout);
  const [kept, total] = [keep.kept * G, keep.total * G];
  const indices = tf.tidy(() => {
    const first = tf.mul(tf.reshape(keep.indices, [keep.kept, 1]), tf.scalar(G, 'int32'));
    return tf.reshape(tf.add(first, tf.range(0, G, 1, 'int32')), [kept]) as tf.Tensor1D;
  });
  return { indices, kept, total };
}

/** Columns of o [N·d] that belong with kept v channels; indices ascending and owned by the caller. */
export function outputColumns(keep: ChannelSelection, layout: HeadLayout, compat: Compat): ChannelSelection {
  if (compat === 'corrected') return queryChannels(keep, layout, compat);
  return { indices: tf.clone(keep.indices), kept: keep.kept, total: keep.total * groupSize(layout) };
}
