/**
 * @file Loss on a held-out set, during training. Every token is dense: sparsity is a way to train, not a property of the trained model.
 */
import type { TrainableModel } from '@spft/models';
import * as tf from '@tensorflow/tfjs';
import { collate } from '../batch/collate.js';
import type { PreparedSample } from '../batch/samples.js';

/**
 * Mean loss of a labelled token, over all samples, without dropout or gradient. (transformers averages the means of batches, which
 * weighs tokens of short batches more.)
 * @returns `eval_loss`, `eval_runtime` in seconds, `eval_samples_per_second`.
 */
export async function evaluateLoss(
  model: TrainableModel,
  samples: readonly PreparedSample[],
  batchSize: number,
): Promise<Record<string, number>> {
  const started = performance.now();
  const losses: tf.Scalar[] = [];
  let [sum, labels] = [0, 0];
  const read = async () => {
    const stacked = tf.tidy(() => tf.stack(losses));
    tf.dispose(losses);
    losses.length = 0;
    for (const loss of await stacked.data()) sum += loss;
    stacked.dispose();
  };
  try {
    for (let start = 0; start < samples.length; start += batchSize) {
      const batch = collate(samples.slice(start, start + batchSize), { vocabSize: model.vocabSize });
      // The mean of the batch, times its labels again: a sum of thousands of losses would lose digits in float32.
      const mean = tf.tidy(() => model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount }));
      losses.push(tf.tidy(() => tf.mul(mean, batch.labelCount)));
      mean.dispose();
      labels += batch.labelCount;
      if (losses.length === 64) await read();
    }
    if (losses.length > 0) await read();
  } finally {
    tf.dispose(losses);
  }
  const seconds = (performance.now() - started) / 1000;
  return { eval_loss: sum / labels, eval_runtime: seconds, eval_samples_per_second: samples.length / seconds };
}
