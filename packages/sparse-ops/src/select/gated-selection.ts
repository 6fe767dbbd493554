/**
 * @file The channels of a gated MLP that low-rank predictors of the mean token of each sequence score highest: `sequenceMeans`, `gatedScores` and
 * `topKSelection` in one op, so that a backend on which launches cost can do it in one.
 */
import type * as tf from '@tensorflow/tfjs';
import type { ChannelSelection, PackedLayout } from '../contract/types.js';
import { hasKernel, runKernel } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { rowShares, sequenceMeans } from '../tokens/sequence-means.js';
import { checkPredictors, gatedScores, type LowRankPair } from './gated-scores.js';
import { checkKept, topKSelection } from './top-k-selection.js';

/**
 * @param x [T, in] in the layout's row order.
 * @param gate of the gate projection. @param up of the up projection, of the same rank.
 * @param kept 1 to n, the channels of the predictors.
 * @returns ascending, owned by the caller: dispose `indices` after the gradient that uses them. Not differentiable.
 * @throws RangeError when the shapes do not fit, x has not a row for each token, or kept is out of range.
 */
export function gatedSelection(
  x: tf.Tensor2D,
  layout: PackedLayout,
  gate: LowRankPair,
  up: LowRankPair,
  kept: number,
): ChannelSelection {
  checkPredictors('gatedSelection', x, gate, up);
  const total = gate.b.shape[1];
  checkKept('gatedSelection', kept, total);
  return noGradient(() => {
    // Kernels may take it that both are of one rank, and that there is a row for each token.
    if (!hasKernel('SpftGatedSelection') || gate.a.shape[1] !== up.a.shape[1] || x.shape[0] !== layout.tokens) {
      const means = sequenceMeans(x, layout);
      const scores = gatedScores(means, gate, up);
      means.dispose();
      const selection = topKSelection(scores, kept);
      scores.dispose();
      return selection;
    }
    const inputs = { x, gateA: gate.a, gateB: gate.b, upA: up.a, upB: up.b };
    const { rowOfToken, sequenceStarts } = layout;
    const attributes = { ...rowShares(layout), rowOfToken, sequenceStarts, kept };
    return { indices: runKernel('SpftGatedSelection', inputs, attributes), kept, total };
  });
}
