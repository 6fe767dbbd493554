/** @file What is not as it seems to be asked for, once the number of a run's steps is known: learning that does not begin, sparsity that never comes. */
import type { TrainConfig } from '@spft/config';
import { type LayerSummary, type SparsitySchedule, sparseShareOfSteps } from '@spft/estimator';
import { warmupSteps } from '@spft/trainer/internals';

/** What an `SpftModel` says of itself. */
interface ScheduledSparsity {
  readonly config: SparsitySchedule;
  summary(): readonly LayerSummary[];
}

/** @param maxSteps optimizer steps of the run. */
export function runNotes(config: TrainConfig, spft: ScheduledSparsity | null, maxSteps: number): string[] {
  return [...learningNotes(config, maxSteps), ...(spft ? sparseNotes(spft, maxSteps) : [])];
}

function* learningNotes(config: TrainConfig, maxSteps: number): Generator<string> {
  if (config.learningRate === 0) {
    yield 'learning_rate is 0: nothing is learnt';
    return;
  }
  const warmup = config.lrSchedulerType === 'constant' ? 0 : warmupSteps(maxSteps, config);
  if (warmup < maxSteps) return;
  const share = (100 * (maxSteps - 1)) / warmup;
  yield `the learning rate rises over ${warmup} steps of a run of ${maxSteps}, so it ends at ${share.toPrecision(2)} % of learning_rate; give fewer warmup_steps`;
}

function* sparseNotes(spft: ScheduledSparsity, maxSteps: number): Generator<string> {
  const isDense = ({ kept, total }: { readonly kept: number; readonly total: number }) => kept === total;
  if (spft.summary().every(({ mlp, selfAttn }) => isDense(mlp) && isDense(selfAttn))) {
    yield 'the sparsity file leaves all channels of every layer, so every step is dense';
  } else if (sparseShareOfSteps(spft.config, maxSteps) === 0) {
    const { startStep, endStep, denseEvery = 0 } = spft.config;
    yield `no step of the ${maxSteps} is sparse: start_step is ${startStep}, end_step ${endStep}${denseEvery > 0 ? `, dense_every ${denseEvery}` : ''} (up to 1 a share of the run)`;
  }
}
