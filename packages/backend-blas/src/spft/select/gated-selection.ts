/** @file The channels of a gated MLP that predictors of the mean token of each sequence score highest, without a tensor in between. */
import type { BlasKernel } from '../../shared/call.js';
import { addRowMeans } from '../tokens/sequence-means.js';
import { scoreGated } from './gated-scores.js';
import { chooseHighest } from './top-k-selection.js';

export const gatedSelection: BlasKernel<'SpftGatedSelection'> = (call, { x, ...predictors }, attributes) => {
  const { sequenceOfRow, shares, kept } = attributes;
  const inputs = x!.shape[1]!;
  const indices = call.output([kept], 'int32');
  const n = predictors.gateB!.shape[1]!;
  const [means, scores] = [call.scratch(shares.length * inputs), call.scratch(n)];
  addRowMeans(call, x!, { sequenceOfRow, shares }, means);
  scoreGated(call, { at: means, rows: shares.length, inputs }, predictors, scores);
  chooseHighest(call.backend.heap.f32(scores, n), call.values(indices));
  return indices;
};
