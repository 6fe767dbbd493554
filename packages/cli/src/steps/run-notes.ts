/** @file What is not as it seems to be asked for, once the number of a run's steps is known: learning that does not begin, sparsity that never comes. */
import type { TrainConfig } from '@spft/config';
import { type LayerSummary, type SparsitySchedule, sparseShareOfSteps } from '@spft/estimator';
import { warmupSteps } from '@spft/trainer/internals';

/** What an `SpftModel` says of itself. */
interface ScheduledSparsity {
  readonly config: SparsitySchedule;
  readonly plan: { readonly estimator: { readonly applies: 'gather' | 'mask' } };
  summary(): readonly LayerSummary[];
}

/** What came of what was asked for. */
export interface PlannedRun {
  readonly config: TrainConfig;
  /** Held-out samples, as they were asked for. */
  readonly validation?: string | undefined;
  readonly spft: ScheduledSparsity | null;
  /** Optimizer steps. */
  readonly maxSteps: number;
  /** Arithmetic relative to a dense run's. */
  readonly flopsShare: number;
}

export function runNotes(run: PlannedRun): string[] {
  const { config, validation, spft, maxSteps } = run;
  const unused =
    validation !== undefined && config.evalStrategy === 'no' && !config.evalOnStart
      ? [`validation ${validation} is kept out of training and never evaluated, as eval_strategy is no`]
      : [];
  return [...unused, ...learningNotes(config, maxSteps), ...(spft ? sparseNotes(spft, run) : [])];
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

function* sparseNotes(spft: ScheduledSparsity, { maxSteps, flopsShare }: PlannedRun): Generator<string> {
  const isDense = ({ kept, total }: { readonly kept: number; readonly total: number }) => kept === total;
  if (spft.summary().every(({ mlp, selfAttn }) => isDense(mlp) && isDense(selfAttn))) {
    yield 'the sparsity file leaves all channels of every layer, so every step is dense';
  } else if (sparseShareOfSteps(spft.config, maxSteps) === 0) {
    const { startStep, endStep, denseEvery = 0 } = spft.config;
    yield `no step of the ${maxSteps} is sparse: start_step is ${startStep}, end_step ${endStep}${denseEvery > 0 ? `, dense_every ${denseEvery}` : ''} (up to 1 a share of the run)`;
  } else if (spft.plan.estimator.applies === 'gather' && flopsShare >= 1) {
    yield 'sparsity saves no arithmetic in this run: (nearly) all tokens of the data are dense (skip_output_tokens, skip_sink_tokens, skip_tail_tokens)';
  }
}
