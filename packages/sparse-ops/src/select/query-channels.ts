/**
 * @file From kv channels to query channels of grouped-query attention: kv channel (h, i) belongs with the query channels (h·G + g)·d + i, g < G,
 * the ones that attention multiplies it with.
 */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection, HeadLayout } from '../contract/types.js';
import { runOp } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { scatterColumns } from './scatter-columns.js';
import { topKSelection } from './top-k-selection.js';

/** @throws RangeError when `channels` is not the kv channels of the layout. */
function checkHeads(op: string, channels: number, { heads, kvHeads, headDim }: HeadLayout): void {
  if (channels !== kvHeads * headDim || heads % kvHeads !== 0) {
    throw new RangeError(
      `${op}: ${channels} kv channels, the layout has ${kvHeads} heads of ${headDim} for ${heads} query heads`,
    );
  }
}

/**
 * Score of each kv channel for q and k together: the mean q score of its group times its k score.
 * @param scoreQ [N·d].
 * @param scoreK [K·d].
 * @returns [K·d], owned by the caller. Constant in gradients.
 * @throws RangeError when the scores do not fit the layout.
 */
export function combineQueryKeyScores(scoreQ: tf.Tensor1D, scoreK: tf.Tensor1D, layout: HeadLayout): tf.Tensor1D {
  const { heads, kvHeads: K, headDim: d } = layout;
  checkHeads('combineQueryKeyScores', scoreK.size, layout);
  if (scoreQ.size !== heads * d) {
    throw new RangeError(`combineQueryKeyScores: ${scoreQ.size} query scores, the layout has ${heads * d} channels`);
  }
  const group = heads / K;
  return noGradient(() =>
    runOp('SpftCombineQueryKeyScores', { scoreQ, scoreK }, { group, headDim: d }, () => {
      if (group === 1) return tf.mul(scoreQ, scoreK) as tf.Tensor1D;
      const ofGroup = tf.reshape(tf.mean(tf.reshape(scoreQ, [K, group, d]), 1), [K * d]);
      return tf.mul(ofGroup, scoreK) as tf.Tensor1D;
    }),
  );
}

/**
 * The query channels [N·d] that belong with kept kv channels [K·d].
 * @returns ascending, owned by the caller.
 * @throws RangeError when the selection does not fit the layout.
 */
export function queryChannels(keep: ChannelSelection, layout: HeadLayout): ChannelSelection {
  const { heads, kvHeads: K, headDim: d } = layout;
  checkHeads('queryChannels', keep.total, layout);
  const group = heads / K;
  const [kept, total] = [keep.kept * group, keep.total * group];
  if (group === 1) return { indices: tf.clone(keep.indices), kept, total };
  const indices = noGradient(() =>
    runOp('SpftQueryChannels', { indices: keep.indices }, { group, headDim: d }, () => {
      // Ascending order on the device: one for each kept channel, spread over the group, and the places of the ones by top-k.
      const mask = scatterColumns(tf.ones([1, keep.kept]) as tf.Tensor2D, keep);
      const spread = tf.tile(tf.reshape(mask, [K, 1, d]), [1, group, 1]);
      return topKSelection(tf.reshape(spread, [total]) as tf.Tensor1D, kept).indices;
    }),
  );
  return { indices, kept, total };
}
