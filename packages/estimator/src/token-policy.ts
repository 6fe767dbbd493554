/**
 * @file Which tokens of a batch are computed with all channels (NOTES "Which tokens", upstream `spft/api.py`).
 *
 * Decided on the host from the labels, once a batch; the trainer's collation passes the answer to `packTokens`. Upstream decides on the
 * padded rectangle, so one sequence's prompt length moves another's split; `corrected` decides token by token.
 */
import { deriveSeed, randomSubset, randomUniform } from './random.js';
import type { Compat } from './types.js';

/** Label of a token that carries no loss: a context token. */
const IGNORED = -100;

/** The keys of the sparsity config that say which tokens are dense. All off: every token is sparse. */
export interface TokenPolicy {
  /** Output tokens (label ≠ −100) are dense. */
  readonly skipOutputTokens: boolean;
  /** The first n tokens of each sequence are dense. */
  readonly skipSinkTokens: number;
  /**
   * The last n tokens before each labelled span are dense, so from 1 on the row that predicts the first output token. Default 0, as upstream. An
   * adapter learns from these rows what kind of answer is asked for (docs/ACCURACY.md).
   */
  readonly skipTailTokens?: number;
  /** Random tokens are dense: in each sequence as many as it has output tokens, at least one. */
  readonly skipRandomTokens: boolean;
  /** With `skipOutputTokens`: the fraction of output tokens, drawn at random, that is sparse all the same. */
  readonly sparseOutputTokens: number;
  /**
   * `corrected`: token by token; several policies together make dense what any of them does. `reference`: upstream's columns of the padded
   * batch, the first policy of random, sink, output winning.
   */
  readonly compat: Compat;
  /** `reference` only: the side on which upstream's batch would be padded; upstream's default is `left`. */
  readonly paddingSide?: 'left' | 'right';
}

/**
 * @param labels [T] label of each token in packed order, −100 for context.
 * @param lengths tokens of each sequence; their sum is T.
 * @param seed of the random policies; the same seed draws the same tokens.
 * @returns [T] 1 where the token is dense, 0 where it is sparse.
 * @throws RangeError when lengths and labels do not fit, or a number of the policy is out of range.
 */
export function denseTokens(
  labels: ArrayLike<number>,
  lengths: readonly number[],
  policy: TokenPolicy,
  seed = 0,
): Uint8Array {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  if (tokens !== labels.length) {
    throw new RangeError(`denseTokens: lengths sum to ${tokens}, but there are ${labels.length} labels`);
  }
  if (!Number.isInteger(policy.skipSinkTokens) || policy.skipSinkTokens < 0) {
    throw new RangeError(`denseTokens: skipSinkTokens must be a whole number ≥ 0, got ${policy.skipSinkTokens}`);
  }
  if (!(policy.sparseOutputTokens >= 0 && policy.sparseOutputTokens <= 1)) {
    throw new RangeError(`denseTokens: sparseOutputTokens must lie in [0, 1], got ${policy.sparseOutputTokens}`);
  }
  const { skipTailTokens = 0 } = policy;
  if (!Number.isInteger(skipTailTokens) || skipTailTokens < 0) {
    throw new RangeError(`denseTokens: skipTailTokens must be a whole number ≥ 0, got ${skipTailTokens}`);
  }
  return policy.compat === 'reference'
    ? denseColumns(labels, lengths, policy, seed)
    : denseByToken(labels, lengths, policy, seed);
}

function denseByToken(
  labels: ArrayLike<number>,
  lengths: readonly number[],
  policy: TokenPolicy,
  seed: number,
): Uint8Array {
  const dense = new Uint8Array(labels.length);
  if (policy.skipOutputTokens) {
    const outputs: number[] = [];
    for (let t = 0; t < labels.length; t++) if (labels[t] !== IGNORED) outputs.push(t);
    for (const t of outputs) dense[t] = 1;
    for (const i of sparseAgain(outputs.length, policy.sparseOutputTokens, seed)) dense[outputs[i]!] = 0;
  }
  let start = 0;
  lengths.forEach((length, b) => {
    dense.fill(1, start, start + Math.min(policy.skipSinkTokens, length));
    for (let t = start + 1; t < start + length; t++) {
      const begins = labels[t] !== IGNORED && labels[t - 1] === IGNORED;
      if (begins) dense.fill(1, Math.max(start, t - (policy.skipTailTokens ?? 0)), t);
    }
    if (policy.skipRandomTokens) {
      let outputs = 0;
      for (let t = start; t < start + length; t++) if (labels[t] !== IGNORED) outputs++;
      const count = Math.min(length, Math.max(1, outputs));
      for (const t of randomSubset(length, count, randomUniform(deriveSeed(seed, b + 1)))) dense[start + t] = 1;
    }
    start += length;
  });
  return dense;
}

/** Upstream's rule on the columns of the padded batch, read back into packed order. */
function denseColumns(
  labels: ArrayLike<number>,
  lengths: readonly number[],
  policy: TokenPolicy,
  seed: number,
): Uint8Array {
  const width = Math.max(0, ...lengths);
  const left = policy.paddingSide !== 'right';
  const dense = new Uint8Array(labels.length);
  /** Marks the tokens of sequence b that stand in a column for which `inside` holds. */
  const mark = (b: number, start: number, inside: (column: number) => boolean) => {
    const offset = left ? width - lengths[b]! : 0;
    for (let t = 0; t < lengths[b]!; t++) if (inside(offset + t)) dense[start + t] = 1;
  };
  const eachSequence = (visit: (b: number, start: number) => void) => {
    let start = 0;
    for (let b = 0; b < lengths.length; b++) {
      visit(b, start);
      start += lengths[b]!;
    }
  };

  if (policy.skipRandomTokens) {
    let mostOutputs = 1;
    eachSequence((b, start) => {
      let outputs = 0;
      for (let t = start; t < start + lengths[b]!; t++) if (labels[t] !== IGNORED) outputs++;
      mostOutputs = Math.max(mostOutputs, outputs);
    });
    eachSequence((b, start) => {
      const columns = new Set(randomSubset(width, mostOutputs, randomUniform(deriveSeed(seed, b + 1))));
      mark(b, start, (column) => columns.has(column));
    });
  } else if (policy.skipSinkTokens > 0) {
    eachSequence((b, start) => mark(b, start, (column) => column < policy.skipSinkTokens));
  } else if (policy.skipOutputTokens) {
    let [first, end] = [width, 0];
    eachSequence((b, start) => {
      const offset = left ? width - lengths[b]! : 0;
      for (let t = 0; t < lengths[b]!; t++) {
        if (labels[start + t] === IGNORED) continue;
        first = Math.min(first, offset + t);
        end = Math.max(end, offset + t + 1);
      }
    });
    const tail = first - (policy.skipTailTokens ?? 0);
    const sparse = new Set(sparseAgain(Math.max(0, end - first), policy.sparseOutputTokens, seed));
    eachSequence((b, start) =>
      mark(b, start, (column) => column >= tail && column < end && !sparse.has(column - first)),
    );
  }
  return dense;
}

/** Which of `outputs` output tokens are sparse all the same: a seeded draw of `int(outputs · fraction)`, at least one unless it is 0. */
function sparseAgain(outputs: number, fraction: number, seed: number): Int32Array {
  if (fraction === 0 || outputs === 0) return new Int32Array(0);
  const count = Math.max(1, Math.trunc(outputs * fraction));
  return randomSubset(outputs, count, randomUniform(deriveSeed(seed, 0)));
}
