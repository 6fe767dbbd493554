/**
 * @file The estimators by predictors: a low-rank predictor of each projection scores its channels from the layer's input alone (SparseLoRA,
 * section 3; upstream `spft/modules/pred.py`). Modes `svd_<rank>`; `calibrated_<rank>`, whose predictors are fitted to data; `static`, by the
 * norms that channels had on the data, without a look at the batch; and the product of the last two.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { gatedScores, gatedSelection } from '@spft/sparse-ops';
import { gramScoresOfAll } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { PredictorError } from './errors.js';
import { combineQueryKeyScores } from './head-channels.js';
import type { LayerPredictors, Predictors } from './predictors.js';
import { ESTIMATOR_REQUEST } from './registry.js';
import { type ScoreRows, scoredPart, scoreRows, spacedRowsOfEach } from './score-rows.js';
import { type ScoringFunctions, type SelectionRules, scoringEstimator } from './scoring.js';
import type { SparsityEstimator } from './types.js';

export interface SvdOptions extends SelectionRules {
  /** MLP scores from the mean token of each sequence (default), or from all tokens. */
  readonly mlpSeqAvg?: boolean;
  /** Attention scores from the mean token of each sequence, or from all tokens (default). */
  readonly qkvoSeqAvg?: boolean;
  /** Scores from so many tokens of each sequence, 0 for all: instead of what the two above say. Default for calibrated predictors 16. */
  readonly scoreTokens?: number | null;
  /**
   * Scores from the sparse tokens alone, so that no label has a say in the context's channels: from all tokens, adapters learn to read the answer off them
   * (docs/ACCURACY.md). Default: true, but for `compat: 'reference'` by predictors that know the weights alone, where it is the original's false.
   */
  readonly scoreContextTokens?: boolean | null;
  /** `mask` for `oracle…svd_<rank>`: the same choice, applied to dense activations. */
  readonly applies?: 'gather' | 'mask';
}

/** Tokens of a sequence that calibrated predictors look at: on a real model they choose as well as all do (docs/ACCURACY.md). */
export const SCORE_TOKENS = 16;

/** Takes ownership of `predictors`. */
export function svdEstimator(mode: string, predictors: Predictors, given: SvdOptions = {}): SparsityEstimator {
  assertKnownOptions('svdEstimator', given, { ...ESTIMATOR_REQUEST, applies: true });
  const { applies = 'gather', ...options } = given;
  const { mlpSeqAvg = true, qkvoSeqAvg = false, compat = 'corrected' } = options;
  const calibrated = predictors.calibration !== null;
  const count = options.scoreTokens ?? (calibrated ? SCORE_TOKENS : null);
  const contextOnly = options.scoreContextTokens ?? (calibrated || compat !== 'reference');
  const rule = (average: boolean): ScoreRows => ({
    tokens: count === null ? (average ? 'mean' : 'all') : count === 0 ? 'all' : count,
    contextOnly,
  });
  const [ofMlp, ofAttention] = [rule(mlpSeqAvg), rule(qkvoSeqAvg)];
  const norm = (name: string) => predictors.norms.get(`model.layers.${name}`);
  const weighed = (scores: tf.Tensor1D, name: string): tf.Tensor1D => {
    const norms = norm(name);
    return norms ? (tf.mul(scores, norms) as tf.Tensor1D) : scores;
  };
  const scoring: ScoringFunctions = {
    needs: 'input',
    applies,
    scoreMlp({ layer, input, layout }) {
      const { gate, up } = ofLayer(predictors, layer, 'mlp');
      return weighed(gatedScores(scoreRows(input, layout, ofMlp), gate, up), `${layer}.mlp`);
    },
    selectMlp({ layer, input, layout, channels }, kept) {
      if (ofMlp.tokens !== 'mean' || norm(`${layer}.mlp`)) return null;
      const { gate, up } = ofLayer(predictors, layer, 'mlp');
      if (gate.b.shape[1] !== channels) return null;
      const part = scoredPart(input, layout, ofMlp.contextOnly);
      return gatedSelection(part.x, part.layout, gate, up, kept);
    },
    scoreAttention({ layer, input, layout, heads }) {
      const { q, k, v } = ofLayer(predictors, layer, 'selfAttn');
      const scores = gramScoresOfAll(scoreRows(input, layout, ofAttention), [q, k, v]);
      const [scoreQ, scoreK, scoreV] = (['q', 'k', 'v'] as const).map((part, n) =>
        weighed(scores[n]!, `${layer}.self_attn.${part}_proj`),
      );
      return { qk: combineQueryKeyScores(scoreQ!, scoreK!, heads, compat), v: scoreV! };
    },
    dispose: () => predictors.dispose(),
  };
  // Its scores are sums over tokens or sequences, of squares.
  const estimator = { ...scoringEstimator(mode, scoring, options), ignoresZeroRows: true };
  if (count === null || count === 0) return estimator;
  return { ...estimator, scoredRows: (layout) => spacedRowsOfEach(layout, count, contextOnly) };
}

/** Keeps the channels that were strongest on the data, whatever the batch. Takes ownership of `predictors`, which need norms alone. */
export function staticEstimator(mode: string, predictors: Predictors, options: SelectionRules = {}): SparsityEstimator {
  assertKnownOptions('staticEstimator', options, ESTIMATOR_REQUEST);
  const norm = (name: string): tf.Tensor1D => {
    const found = predictors.norms.get(`model.layers.${name}`);
    if (found) return found;
    throw new PredictorError(`predictors: no norms of layers.${name}; calibrate every sparse layer`);
  };
  const estimator = scoringEstimator(
    mode,
    {
      needs: 'input',
      scoreMlp: ({ layer }) => norm(`${layer}.mlp`),
      scoreAttention: ({ layer, heads }) => {
        const [q, k, v] = (['q', 'k', 'v'] as const).map((part) => norm(`${layer}.self_attn.${part}_proj`));
        return { qk: combineQueryKeyScores(q!, k!, heads, options.compat ?? 'corrected'), v: v! };
      },
      dispose: () => predictors.dispose(),
    },
    options,
  );
  // No row has a say.
  return { ...estimator, ignoresZeroRows: true };
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
