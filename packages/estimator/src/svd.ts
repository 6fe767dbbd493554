/**
 * @file The SVD estimator (mode `svd_<rank>`): a low-rank predictor of each projection scores its channels from the layer's input alone
 * (SparseLoRA, section 3; upstream `spft/modules/pred.py`).
 */
import { gatedScores, gramScoresOfAll, sequenceMeans } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import { combineQueryKeyScores } from './head-channels.js';
import type { LayerPredictors, Predictors } from './predictors.js';
import { type ScoringFunctions, type SelectionRules, scoringEstimator } from './scoring.js';
import type { MlpContext, SparsityEstimator } from './types.js';

export interface SvdOptions extends SelectionRules {
  /** MLP scores from the mean token of each sequence (default), or from all tokens. */
  readonly mlpSeqAvg?: boolean;
  /** Attention scores from the mean token of each sequence, or from all tokens (default). */
  readonly qkvoSeqAvg?: boolean;
  /** `mask` for `oracle…svd_<rank>`: the same choice, applied to dense activations. */
  readonly applies?: 'gather' | 'mask';
}

/** Takes ownership of `predictors`. */
export function svdEstimator(mode: string, predictors: Predictors, options: SvdOptions = {}): SparsityEstimator {
  const { mlpSeqAvg = true, qkvoSeqAvg = false, compat = 'corrected', applies = 'gather' } = options;
  const scoring: ScoringFunctions = {
    needs: 'input',
    applies,
    scoreMlp: (context) => mlpScores(context, ofLayer(predictors, context.layer, 'mlp'), mlpSeqAvg),
    scoreAttention({ layer, input, layout, heads }) {
      const { q, k, v } = ofLayer(predictors, layer, 'selfAttn');
      const x = qkvoSeqAvg ? sequenceMeans(input, layout) : input;
      const [scoreQ, scoreK, scoreV] = gramScoresOfAll(x, [q, k, v]) as [tf.Tensor1D, tf.Tensor1D, tf.Tensor1D];
      return { qk: combineQueryKeyScores(scoreQ, scoreK, heads, compat), v: scoreV };
    },
    dispose: () => predictors.dispose(),
  };
  // Its scores are sums over tokens or sequences, of squares.
  return { ...scoringEstimator(mode, scoring, options), ignoresZeroRows: true };
}

/** L2 norm over sequences (or tokens) of silu(x·A_gate·B_gate) ⊙ (x·A_up·B_up): [I]. */
function mlpScores(
  { input, layout }: MlpContext,
  { gate, up }: NonNullable<LayerPredictors['mlp']>,
  average: boolean,
): tf.Tensor1D {
  return gatedScores(average ? sequenceMeans(input, layout) : input, gate, up);
}

function ofLayer<M extends 'mlp' | 'selfAttn'>(predictors: Predictors, layer: number, module: M) {
  const found = predictors.layers.get(layer)?.[module];
  if (!found) {
    throw new PredictorError(
      `predictors: none for layers.${layer}.${module === 'mlp' ? 'mlp' : 'self_attn'}; build them for every sparse layer`,
    );
  }
  return found as NonNullable<LayerPredictors[M]>;
}
