/**
 * @file The oracles (a mode that contains `oracle`): they see the dense activations, choose the channels that matter, and mask the others.
 * No speed-up: the yardstick for predictors. Parts of the name choose the rule, as upstream matches them (`spft/modules/{mlp,attn}.py`).
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { type ChannelSelection, columnNorms, keptChannels } from '@spft/sparse-ops';
import { unpacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { EstimatorError } from './errors.js';
import { combineQueryKeyScores } from './head-channels.js';
import { deriveSeed, randomSubset, randomUniform } from './random.js';
import { ESTIMATOR_REQUEST } from './registry.js';
import { type ScoringFunctions, type SelectionRules, scoringEstimator, withoutTape } from './scoring.js';
import { selectChannels } from './select-channels.js';
import type { AttentionContext, AttentionSelection, MlpContext, SparsityEstimator } from './types.js';

export type MlpOracle = 'wanda' | 'random' | 'norm';
export type AttentionOracle = 'attention_norm' | 'random' | 'l2norm';

/** What an oracle's name asks for; null where it names no rule. */
export interface OracleRules {
  readonly mlp: MlpOracle | null;
  readonly selfAttn: AttentionOracle | null;
  /** Limits attention to q and k, or to v. */
  readonly limit: 'qk' | 'vo' | null;
}

/** Reads a mode in upstream's order of precedence. */
export function parseOracle(mode: string): OracleRules {
  const has = (part: string) => mode.includes(part);
  return {
    mlp: !has('ffn') ? null : has('wanda') ? 'wanda' : has('random') ? 'random' : has('norm') ? 'norm' : null,
    selfAttn: has('attention_norm') ? 'attention_norm' : has('random') ? 'random' : has('l2norm') ? 'l2norm' : null,
    limit: has('qk') ? 'qk' : has('vo') ? 'vo' : null,
  };
}

/**
 * @throws EstimatorError when the name has no rule for a kind of module that `options.modules` asks for, or none at all.
 */
export function oracleEstimator(mode: string, options: SelectionRules = {}): SparsityEstimator {
  assertKnownOptions('oracleEstimator', options, ESTIMATOR_REQUEST);
  const rules = parseOracle(mode);
  if (!rules.mlp && !rules.selfAttn) {
    throw new EstimatorError(
      `mode '${mode}' names no rule; an oracle needs wanda_ffn, random_ffn or norm_ffn for the MLP, or attention_norm, random or ` +
        'l2norm for attention, e.g. oracle_norm_ffn_attention_norm',
    );
  }
  const { mlp, selfAttn } = rules;
  const compat = options.compat ?? 'corrected';
  const scoring: ScoringFunctions = {
    needs: 'activations',
    applies: 'mask',
    scoreMlp: mlp ? (context) => mlpScores(context, mlp) : undefined,
    scoreAttention: selfAttn
      ? ({ q, k, v, heads }) => {
          assertPresent(mode, { q, k, v });
          return { qk: combineQueryKeyScores(columnNorms(q!), columnNorms(k!), heads, compat), v: columnNorms(v!) };
        }
      : undefined,
  };
  const scored = scoringEstimator(mode, scoring, options);
  // What is drawn has no scores.
  const draws = mlp === 'random' || selfAttn === 'random';
  const attention = (context: AttentionContext): AttentionSelection =>
    selfAttn === 'random' || selfAttn === 'l2norm'
      ? eachByItself(mode, selfAttn, context, options)
      : scored.selectAttention(context);
  return {
    ...scored,
    sharesScores: options.shareScores !== undefined && !draws,
    selectMlp(context) {
      if (mlp !== 'random') return scored.selectMlp(context);
      const kept = keptChannels(context.channels, context.sparsity, options.channelMultiple ?? 1);
      return randomChannels(context.channels, kept, context.seed);
    },
    selectAttention: (context) => limited(attention(context), rules.limit),
  };
}

/** [I] scores of h = silu(gate) · up. */
function mlpScores({ activations: h, downWeight }: MlpContext, rule: MlpOracle): tf.Tensor1D {
  assertPresent(`oracle ${rule}`, { activations: h, downWeight });
  const norms = columnNorms(h!);
  if (rule !== 'wanda') return norms;
  const importance = tf.mul(tf.abs(unpacked(downWeight!)), norms); // [H, I]
  // A row without any importance has none to share out; upstream divides 0 by 0 there.
  const ofRow = tf.maximum(tf.sum(importance, 1, true), 1e-30);
  return tf.sum(tf.div(importance, ofRow), 0);
}

/** q, k and v each with channels of their own, all of [N·d] and [K·d]: no head layout ties them together. */
function eachByItself(
  mode: string,
  rule: 'random' | 'l2norm',
  { q, k, v, heads, sparsity, seed }: AttentionContext,
  options: SelectionRules,
): AttentionSelection {
  const multiple = options.channelMultiple ?? 1;
  const [queries, keys] = [heads.heads * heads.headDim, heads.kvHeads * heads.headDim];
  if (rule === 'random') {
    const draw = (total: number, part: number) =>
      randomChannels(total, keptChannels(total, sparsity, multiple), deriveSeed(seed, part));
    return { q: draw(queries, 0), k: draw(keys, 1), v: draw(keys, 2), o: null };
  }
  assertPresent(mode, { q, k, v });
  return withoutTape(() => {
    const { shareScores = (scores: tf.Tensor1D) => scores } = options;
    const byNorm = (x: tf.Tensor2D) => selectChannels(shareScores(columnNorms(x)), sparsity, multiple);
    return { q: byNorm(q!), k: byNorm(k!), v: byNorm(v!), o: null };
  });
}

function randomChannels(total: number, kept: number, seed: number): ChannelSelection | null {
  if (kept >= total) return null;
  return { indices: tf.tensor1d(randomSubset(total, kept, randomUniform(seed)), 'int32'), kept, total };
}

/** Gives back the selections that the mode leaves out. */
function limited(selection: AttentionSelection, limit: OracleRules['limit']): AttentionSelection {
  const { q, k, v } = selection;
  if (limit === 'qk') {
    v?.indices.dispose();
    return { ...selection, v: null };
  }
  if (limit === 'vo') {
    tf.dispose([q?.indices, k?.indices].filter((t) => t !== undefined));
    return { ...selection, q: null, k: null };
  }
  return selection;
}

function assertPresent(mode: string, tensors: Record<string, tf.Tensor | undefined>): void {
  const missing = Object.keys(tensors).filter((name) => !tensors[name]);
  if (missing.length > 0) {
    throw new TypeError(`mode '${mode}' needs the dense activations, but the context has no ${missing.join(', ')}`);
  }
}
