/** @file Whether what a trainer was given fits together, said before anything is computed. */
import { TrainerError } from '../errors.js';
import type { RunPlan } from './run-plan.js';
import type { TrainerOptions } from './trainer-options.js';
import type { StepArgs } from './training-args.js';

/** @throws TrainerError when there is nothing to evaluate on, or no place for checkpoints, though the arguments ask for it. */
export function checkOptions(
  { evaluator, checkpoints }: Pick<TrainerOptions, 'evaluator' | 'checkpoints'>,
  { evalStrategy, evalOnStart, loadBestModelAtEnd, resumeFromCheckpoint }: StepArgs,
  hasEvalSamples: boolean,
): void {
  if ((evalStrategy !== 'no' || evalOnStart) && !hasEvalSamples && !evaluator) {
    throw new TrainerError(
      'options',
      `${evalOnStart ? 'eval_on_start is true' : `eval_strategy is ${evalStrategy}`}: give evalSamples or an evaluator, or set it to ${evalOnStart ? 'false' : 'no'}`,
    );
  }
  if ((loadBestModelAtEnd || resumeFromCheckpoint) && !checkpoints) {
    throw new TrainerError('options', 'load_best_model_at_end and resume_from_checkpoint need a place for checkpoints');
  }
}

/**
 * Whether there is work for every rank; where some micro-batches are wanting, `notify` is told.
 * @throws TrainerError when some ranks would never have a batch.
 */
export function checkRanks(
  { batchesPerEpoch, batchSize, samples }: RunPlan,
  ranks: number,
  microBatches: number,
  notify: (message: string) => void,
): void {
  if (ranks > batchesPerEpoch) {
    throw new TrainerError(
      'options',
      `${ranks} ranks, but ${samples} samples are only ${batchesPerEpoch} batches of ${batchSize}: some ranks would never have one; start at most ${batchesPerEpoch} ranks, or make per_device_train_batch_size smaller`,
    );
  }
  if (ranks > microBatches) {
    notify(
      `a step has ${microBatches} micro-batches for ${ranks} ranks, of which ${ranks - microBatches} have none: more accumulation, or fewer ranks, would use all`,
    );
  }
}
