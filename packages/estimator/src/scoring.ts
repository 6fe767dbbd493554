/**
 * @file An estimator out of scoring functions: a score for each channel, and the rest (how many are kept, per head or not, which query and
 * output channels follow) is done here. The built-in estimators are made with it, and so can a user's own be, without subclassing anything.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { type ChannelSelection, keptChannels, noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { EstimatorError } from './errors.js';
import { outputColumns, queryChannels } from './head-channels.js';
import { ESTIMATOR_REQUEST, type EstimatorRequest } from './registry.js';
import { selectChannels, selectChannelsPerHead } from './select-channels.js';
import type { AttentionContext, AttentionSelection, MlpContext, SparsityEstimator } from './types.js';

/** A score for each channel, the higher the likelier to be kept: on the device, or on the host (gpu.js, plain loops). */
export type Scores = tf.Tensor1D | Float32Array | readonly number[];

/** Scores over kv channels; null leaves those projections dense. */
export interface AttentionScores {
  /** [K·d], for k, and for q through the head layout. */
  readonly qk: Scores | null;
  /** [K·d], for v, and for o through the head layout. */
  readonly v: Scores | null;
}

/** What a user writes. Tensors made inside are disposed for you; nothing is recorded for a gradient. */
export interface ScoringFunctions {
  /** Default `input`. */
  readonly needs?: 'input' | 'activations';
  /** Default: `gather` for `input`, `mask` for `activations`. */
  readonly applies?: 'gather' | 'mask';
  /** Scores [I] of the MLP's intermediate channels. */
  scoreMlp?(context: MlpContext): Scores;
  scoreAttention?(context: AttentionContext): AttentionScores;
  /**
   * What the `kept` highest scores of `scoreMlp` would choose, where that can be had without the scores; null where it cannot. Not asked where scores are
   * shared over ranks.
   */
  selectMlp?(context: MlpContext, kept: number): ChannelSelection | null;
  dispose?(): void;
}

/** How scores become selections; an `EstimatorRequest` can be passed as it is. */
export type SelectionRules = Partial<
  Pick<EstimatorRequest, 'compat' | 'channelMultiple' | 'qkPerHead' | 'modules' | 'heads' | 'shareScores'>
>;

/**
 * @param mode name of the estimator in logs and messages.
 * @throws EstimatorError when `rules.modules` asks for a kind of module that has no scoring function.
 */
export function scoringEstimator(
  mode: string,
  scoring: ScoringFunctions,
  rules: SelectionRules = {},
): SparsityEstimator {
  // A whole request will do for the rules.
  assertKnownOptions('scoringEstimator', rules, ESTIMATOR_REQUEST);
  if (rules.modules?.mlp && !scoring.scoreMlp) throw unserved(mode, 'mlp');
  if (rules.modules?.selfAttn && !scoring.scoreAttention) throw unserved(mode, 'self_attn');
  const { compat = 'corrected', channelMultiple = 1, qkPerHead = false, shareScores } = rules;
  const scoresOf = (scores: Scores, channels: number) => {
    const own = asTensor(mode, scores, channels);
    return shareScores ? shareScores(own) : own;
  };
  const needs = scoring.needs ?? 'input';
  const applies = scoring.applies ?? (needs === 'input' ? 'gather' : 'mask');

  return {
    mode,
    needs,
    applies,
    sharesScores: shareScores !== undefined,
    selectMlp(context) {
      if (!scoring.scoreMlp) throw unserved(mode, 'mlp');
      return withoutTape(() => {
        const kept = keptChannels(context.channels, context.sparsity, channelMultiple);
        const selection = shareScores || kept >= context.channels ? null : (scoring.selectMlp?.(context, kept) ?? null);
        if (selection) return selection;
        const scores = scoresOf(scoring.scoreMlp!(context), context.channels);
        return selectChannels(scores, context.sparsity, channelMultiple);
      });
    },
    selectAttention(context) {
      if (!scoring.scoreAttention) throw unserved(mode, 'self_attn');
      const { heads, sparsity } = context;
      const select = (scores: Scores | null) => {
        if (scores === null) return null;
        const tensor = scoresOf(scores, heads.kvHeads * heads.headDim);
        return qkPerHead
          ? selectChannelsPerHead(tensor, sparsity, channelMultiple, heads)
          : selectChannels(tensor, sparsity, channelMultiple);
      };
      return withoutTape(() => {
        const scores = scoring.scoreAttention!(context);
        const [k, v] = [select(scores.qk), select(scores.v)];
        return {
          q: k && queryChannels(k, heads, compat),
          k,
          v,
          // Masking estimators measure what dropping q, k and v does: upstream's o-projection stays dense with them.
          o: v && applies === 'gather' ? outputColumns(v, heads, compat) : null,
        };
      });
    },
    dispose: () => scoring.dispose?.(),
  };
}

/** Runs `select` off the tape and gives back all of its tensors but the selection's. */
export function withoutTape<S extends AttentionSelection | MlpSelection>(select: () => S): S {
  return noGradient(() => tf.tidy(select as () => never)) as S;
}

type MlpSelection = ReturnType<SparsityEstimator['selectMlp']>;

function asTensor(mode: string, scores: Scores, channels: number): tf.Tensor1D {
  const tensor = scores instanceof tf.Tensor ? scores : tf.tensor1d(Array.from(scores), 'float32');
  if (tensor.rank !== 1 || tensor.size !== channels) {
    throw new EstimatorError(
      `estimator '${mode}': a score was wanted for each of ${channels} channels, got a tensor of shape [${tensor.shape}]`,
    );
  }
  return tensor;
}

function unserved(mode: string, module: 'mlp' | 'self_attn'): EstimatorError {
  return new EstimatorError(
    `mode '${mode}' has no rule for ${module} layers; set their sparsity to 0, or use a mode that names one ` +
      (module === 'mlp'
        ? '(…norm_ffn, …wanda_ffn, …random_ffn, svd_<rank>)'
        : '(…attention_norm, …l2norm, …random, svd_<rank>)'),
  );
}
