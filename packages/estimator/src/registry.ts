/**
 * @file How a config's `mode` string finds its estimator. The built-in modes register here like a user's own (builtin.ts).
 *
 * Upstream searches the string for substrings wherever it is used, so a mistyped mode fails in the middle of the first step, or silently
 * means something else. Here exactly one pattern claims a mode before anything is built.
 */
import { assertKnownOptions, nearestName, type OptionNames } from '@spft/safetensors/internals';
import type { HeadLayout } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import { EstimatorError } from './errors.js';
import type { Predictors } from './predictors.js';
import type { Compat, SparsityEstimator } from './types.js';

/** What predictors are made of. */
export interface PredictorKind {
  /** Fitted to data; else made from the weights alone. */
  readonly calibrated: boolean;
  /** With the root mean square of each channel on the data. */
  readonly norms: boolean;
}

/** See `shareScores` of `EstimatorRequest`. */
export type ShareScores = (scores: tf.Tensor1D) => tf.Tensor1D;

/** What an estimator may need to know when it is made. */
export interface EstimatorRequest {
  /** The config's `mode`. */
  readonly mode: string;
  readonly heads: HeadLayout;
  readonly compat: Compat;
  /** Kept counts are rounded up to a multiple of it (16 suits CUDA's tensor cores). */
  readonly channelMultiple: number;
  /** Choose the same number of channels in every kv head (`qk_per_head`). */
  readonly qkPerHead: boolean;
  /** Score attention on sequence means instead of all tokens (`qkvo_seq_avg`). */
  readonly qkvoSeqAvg: boolean;
  /** Score the MLP on sequence means instead of all tokens (`mlp_seq_avg`). */
  readonly mlpSeqAvg: boolean;
  /** How many tokens of each sequence give the scores, 0 for all; null: by the mode and the `…SeqAvg` keys (`score_tokens`). */
  readonly scoreTokens?: number | null;
  /** Whether sparse tokens alone give the scores; null: they do, but for `svd_<rank>` with `compat: 'reference'` (`score_context_tokens`). */
  readonly scoreContextTokens?: boolean | null;
  /** Which kinds of module will be sparse, so that a mode that cannot serve one refuses before training. */
  readonly modules: { readonly mlp: boolean; readonly selfAttn: boolean };
  /**
   * Makes one choice of several processes' scores: gives back what `scores` [channels] add up to over them, the same on each. It takes none of them over.
   * Called once for each choice, in the same order everywhere.
   */
  readonly shareScores?: ShareScores | undefined;
  /**
   * Predictors of this rank for the model, found or built; the estimator takes ownership. Absent where there is no model to build from.
   * @param kind default: made from the weights alone, without norms.
   */
  readonly predictors?: (rank: number, kind?: PredictorKind) => Promise<Predictors>;
}

export const ESTIMATOR_REQUEST: OptionNames<EstimatorRequest> = {
  ...{ mode: true, heads: true, compat: true, channelMultiple: true, modules: true },
  ...{ qkPerHead: true, qkvoSeqAvg: true, mlpSeqAvg: true, scoreTokens: true, scoreContextTokens: true },
  ...{ shareScores: true, predictors: true },
};

/** Makes an estimator for a mode that its pattern matched; `match` is the result of `pattern.exec(mode)`. */
export type EstimatorFactory = (
  request: EstimatorRequest,
  match: RegExpExecArray,
) => SparsityEstimator | Promise<SparsityEstimator>;

/** How error messages and `--help` present the modes of a pattern. */
export interface ModeDescription {
  /** Names with placeholders, e.g. `svd_<rank>`. */
  readonly title?: string;
  /** Real names that the pattern matches; the nearest to a mistyped mode is suggested. */
  readonly examples?: readonly string[];
}

interface Registration {
  readonly pattern: RegExp;
  readonly factory: EstimatorFactory;
  readonly title: string;
  readonly examples: readonly string[];
}

const registrations: Registration[] = [];

/**
 * Lets the modes that `pattern` matches be served by `factory`.
 * @returns a function that takes the registration back.
 * @throws EstimatorError when the pattern is registered already, or an example of one is claimed by the other.
 * @throws TypeError when an example does not match the pattern, or the pattern keeps state between matches (flags `g`, `y`).
 */
export function registerEstimator(
  pattern: RegExp,
  factory: EstimatorFactory,
  description: ModeDescription = {},
): () => void {
  assertKnownOptions('registerEstimator', description, { title: true, examples: true });
  const { title = String(pattern), examples = [] } = description;
  if (pattern.global || pattern.sticky) {
    throw new TypeError(`registerEstimator: ${pattern} keeps state between matches; drop its g and y flags`);
  }
  const foreign = examples.find((example) => !pattern.test(example));
  if (foreign !== undefined) {
    throw new TypeError(`registerEstimator: example '${foreign}' does not match ${pattern}`);
  }
  for (const other of registrations) {
    const shared =
      String(other.pattern) === String(pattern) ||
      examples.some((example) => other.pattern.test(example)) ||
      other.examples.some((example) => pattern.test(example));
    if (shared) {
      throw new EstimatorError(
        `registerEstimator: ${pattern} claims modes of ${other.title} (${other.pattern}), which is registered already; ` +
          'choose another name, or take the other one back first',
      );
    }
  }
  const registration = { pattern, factory, title, examples };
  registrations.push(registration);
  return () => {
    const at = registrations.indexOf(registration);
    if (at >= 0) registrations.splice(at, 1);
  };
}

/** The modes that can be asked for, as titles such as `svd_<rank>`. */
export function knownModes(): string[] {
  return registrations.map(({ title }) => title);
}

/** @throws EstimatorError when no estimator claims the mode, or more than one does. */
export function assertKnownMode(mode: string): void {
  claim(mode);
}

/**
 * Makes the estimator of a mode; dispose it when done.
 * @throws EstimatorError when no estimator claims the mode, more than one does, or it cannot serve the request.
 */
export async function createEstimator(request: EstimatorRequest): Promise<SparsityEstimator> {
  assertKnownOptions('createEstimator', request, ESTIMATOR_REQUEST);
  const { factory, match } = claim(request.mode);
  return factory(request, match);
}

function claim(mode: string): { factory: EstimatorFactory; match: RegExpExecArray } {
  const claims = registrations.flatMap(({ pattern, factory, title }) => {
    const match = pattern.exec(mode);
    return match ? [{ factory, match, title }] : [];
  });
  if (claims.length > 1) {
    throw new EstimatorError(`mode '${mode}' is claimed by ${claims.map((c) => c.title).join(' and ')}; rename one`);
  }
  const only = claims[0];
  if (only) return only;
  const suggestion = nearestName(
    mode,
    registrations.flatMap(({ examples }) => examples),
  );
  throw new EstimatorError(
    `mode '${mode}' belongs to no estimator; known modes: ${knownModes().join(', ') || 'none'}` +
      (suggestion ? `; did you mean '${suggestion}'?` : '') +
      ' (registerEstimator adds your own)',
  );
}
