/**
 * @file How far the loss jumps where sparsity begins: what the first sparse step will show, known before the run. A sparse loss is that of a model
 * which sees the context through few channels, so it is not to be compared with a dense one; where it is far off, adapters learn to do without the
 * context, and the dense model that is evaluated has not learnt to read it.
 */
import { denseTokens, type SpftModel } from '@spft/estimator';
import type { TrainableModel } from '@spft/models';
import { noGradient } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { collate } from '../batch/collate.js';
import type { SampleSource } from '../batch/sample-source.js';
import type { Sample } from '../batch/samples.js';
import { sampleEvenly } from './calibration-data.js';

/** Mean loss of a labelled token over the same few samples, all channels and as a sparse step computes it. */
export interface LossJump {
  readonly dense: number;
  readonly sparse: number;
}

/** Relative rise from which on a run is worth a warning: LoRA at MLP 0.5 by calibrated predictors stays below, choices that lose the question are far above. */
const WORTH_WARNING = 0.25;

/**
 * Two forward passes over a batch; nothing of the run changes.
 * @param spft its plan is left as it was.
 * @returns null for a plan that makes nothing sparse.
 */
export async function lossJump(
  spft: SpftModel<TrainableModel>,
  samples: readonly Sample[] | SampleSource,
  count = 8,
): Promise<LossJump | null> {
  const chosen = sampleEvenly(samples, count);
  if (chosen.length === 0 || spft.plan.layers.size === 0) return null;
  const batch = collate(chosen, {
    denseTokens: (labels, lengths, seed) => denseTokens(labels, lengths, spft.tokenPolicy, seed),
  });
  const loss = async (enabled: boolean): Promise<number> => {
    spft.host.setSparsity({ ...spft.plan, enabled, listener: null });
    const value = noGradient(() =>
      tf.tidy(() => spft.model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount })),
    );
    const [mean] = await value.data();
    value.dispose();
    return mean!;
  };
  try {
    return { dense: await loss(false), sparse: await loss(true) };
  } finally {
    spft.host.setSparsity(spft.plan);
  }
}

/** What a user should know of it; null where it is small. */
export function jumpWarning({ dense, sparse }: LossJump): string | null {
  const rise = sparse / dense - 1;
  if (!(rise > WORTH_WARNING)) return null;
  return (
    `the first sparse step's loss will be ${sparse.toFixed(3)} where a dense one's is ${dense.toFixed(3)} (+${(100 * rise).toFixed(0)} %): the context is ` +
    'seen through too few or the wrong channels, and what is learnt so may not hold densely; let spft sparsity plan measure this model, or try mode: ' +
    'calibrated_8, compensation_rank: 128, skip_tail_tokens: 16, dense steps at the end (end_step: 0.8), or less sparsity in the lower layers'
  );
}
