/**
 * @file Samples into a batch: real tokens one after the other without padding, dense tokens first in row order (DESIGN section 3).
 */
import type { PackedBatch } from '@spft/models';
import { packTokens } from '@spft/sparse-ops';
import { listed, TrainerError } from '../errors.js';
import { checkTokens, countLabels, type Sample } from './samples.js';

/**
 * Which tokens are computed with all channels; `denseTokens` of `@spft/estimator` with its policy bound.
 * @param labels [T] in packed order.
 * @param lengths tokens of each sequence.
 * @param seed of random policies.
 * @returns [T] non-zero where dense.
 */
export type DenseTokens = (labels: Int32Array, lengths: readonly number[], seed: number) => ArrayLike<number>;

export interface CollateOptions {
  /** Every token is dense when not given. */
  readonly denseTokens?: DenseTokens;
  readonly seed?: number;
  /** Token ids and labels are below it; not checked where it is not known. */
  readonly vocabSize?: number | undefined;
}

export interface CollatedBatch extends PackedBatch {
  /** Labelled tokens that have a token before them: what the loss is a sum over. */
  readonly labelCount: number;
}

/**
 * Packs samples into a batch.
 * @throws TrainerError when no token of the batch has a label, or an id or a label is none.
 */
export function collate(samples: readonly Sample[], options: CollateOptions = {}): CollatedBatch {
  const { denseTokens, seed = 0, vocabSize } = options;
  const lengths = samples.map((sample) => sample.inputIds.length);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const inputIds = new Int32Array(tokens);
  const labels = new Int32Array(tokens);
  let [start, labelCount] = [0, 0];
  for (const [n, sample] of samples.entries()) {
    checkTokens(sample, 'batch', indexOf(sample, n), vocabSize);
    inputIds.set(sample.inputIds, start);
    labels.set(sample.labels, start);
    labelCount += countLabels(sample.labels);
    start += sample.inputIds.length;
  }
  if (labelCount === 0) {
    const indices = samples.map(indexOf);
    throw new TrainerError(
      'batch',
      `a batch without labels has no loss: samples ${listed(indices)}; check that prompts leave room for answers within the maximum length`,
    );
  }
  const dense = denseTokens?.(labels, lengths, seed);
  if (dense && dense.length !== tokens) {
    throw new RangeError(`collate: denseTokens gave ${dense.length} flags for ${tokens} tokens`);
  }
  const layout = packTokens({ lengths, dense: (token) => (dense ? dense[token] !== 0 : true) });
  return { inputIds, labels, layout, labelCount };
}

/** Among the samples given to the trainer, or in the batch. */
const indexOf = (sample: Sample, n: number): number => (sample as { index?: number }).index ?? n;
