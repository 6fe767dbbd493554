/**
 * @file Loss on a held-out set, during training. Every token is dense: sparsity is a way to train, not a property of the trained model.
 */
import type { TrainableModel } from '@spft/models';
import * as tf from '@tensorflow/tfjs';
import { collate } from '../batch/collate.js';
import { countLabels, type PreparedSample } from '../batch/samples.js';
import { gatherJson, ownOf, type Ranks } from '../loop/ranks.js';

/**
 * Mean loss of a labelled token, over all samples, without dropout or gradient. (transformers averages the means of batches, which
 * weighs tokens of short batches more.)
 * @param ranks among which the batches are dealt out; the sum is the same as without them, in the order of the batches.
 * @param shards where each rank holds a part of the base: all do as many batches.
 * @returns `eval_loss`, `eval_runtime` in seconds, `eval_samples_per_second`.
 */
export async function evaluateLoss(
  model: TrainableModel,
  samples: readonly PreparedSample[],
  batchSize: number,
  ranks: Ranks | null = null,
  shards: { settle(): void } | null = null,
): Promise<Record<string, number>> {
  const started = performance.now();
  const losses: tf.Scalar[] = [];
  const sums: number[] = [];
  const read = async () => {
    const stacked = tf.tidy(() => tf.stack(losses));
    tf.dispose(losses);
    losses.length = 0;
    sums.push(...(await stacked.data()));
    stacked.dispose();
  };
  const starts = Array.from({ length: Math.ceil(samples.length / batchSize) }, (_, n) => n * batchSize);
  const batchAt = (start: number) => collate(samples.slice(start, start + batchSize), { vocabSize: model.vocabSize });
  const own = ownOf(starts, ranks);
  shards?.settle();
  try {
    if (shards && ranks && own.length < Math.ceil(starts.length / ranks.size)) {
      const batch = batchAt(0);
      model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount }).dispose();
    }
    for (const { item: start } of own) {
      const batch = batchAt(start);
      // The mean of the batch, times its labels again: a sum of thousands of losses would lose digits in float32.
      const mean = tf.tidy(() => model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount }));
      losses.push(tf.tidy(() => tf.mul(mean, batch.labelCount)));
      mean.dispose();
      if (losses.length === 64) await read();
    }
    if (losses.length > 0) await read();
  } finally {
    tf.dispose(losses);
    shards?.settle();
  }
  const sum = (await inOrder(sums, ranks)).reduce((total, loss) => total + loss, 0);
  const labels = samples.reduce((count, sample) => count + countLabels(sample.labels), 0);
  const seconds = (performance.now() - started) / 1000;
  return { eval_loss: sum / labels, eval_runtime: seconds, eval_samples_per_second: samples.length / seconds };
}

/** The sums of all batches by their number, from the ranks to which they were dealt out. */
async function inOrder(own: readonly number[], ranks: Ranks | null): Promise<readonly number[]> {
  if (ranks === null) return own;
  // Numbers that JSON has no word for pass as texts.
  const all = await gatherJson(ranks, own.map(String));
  const count = all.reduce((sum, { length }) => sum + length, 0);
  return Array.from({ length: count }, (_, n) => Number(all[n % ranks.size]![Math.floor(n / ranks.size)]));
}
