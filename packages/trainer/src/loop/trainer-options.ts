/** @file What a trainer is given, and what it gives back. */
import type { TrainableModel } from '@spft/models';
import type { OptionNames } from '@spft/safetensors/internals';
import type { DenseTokens } from '../batch/collate.js';
import type { SampleSource } from '../batch/sample-source.js';
import type { Sample, SampleRules } from '../batch/samples.js';
import type { CheckpointStore } from '../checkpoint/store.js';
import type { ProgressSink } from '../record/progress.js';
import type { TrainerCallback, TrainerContext } from './callbacks.js';
import type { Ranks } from './ranks.js';
import type { TrainerState } from './state.js';
import type { StepSummary } from './step-clock.js';
import type { TrainingArgs } from './training-args.js';

export interface TrainerOptions extends Omit<SampleRules, 'maxLength'> {
  readonly model: TrainableModel;
  /** All of them, or where they come from. */
  readonly samples: readonly Sample[] | SampleSource;
  /** Training keys; a whole `TrainConfig` fits. Defaults are those of the table in `@spft/config`. */
  readonly args?: Partial<TrainingArgs>;
  /** Held-out samples for `eval_strategy`. */
  readonly evalSamples?: readonly Sample[];
  /** More metrics for every evaluation, e.g. accuracy by generation; names without `eval_` get it. */
  readonly evaluator?: (context: TrainerContext) => Promise<Record<string, number>>;
  /** Which tokens are computed with all channels; when not given, those that the model's `sparsity` wants, or all. */
  readonly denseTokens?: DenseTokens;
  /** A `SpftCallback` among them takes the place of the one that a sparse model gets. */
  readonly callbacks?: readonly TrainerCallback[];
  /** Without one, nothing is saved. */
  readonly checkpoints?: CheckpointStore;
  /** Files that every checkpoint gets besides, e.g. `adapter_config.json`, so that PEFT can load it. */
  readonly checkpointFiles?: () => Promise<Readonly<Record<string, string | Uint8Array>>>;
  readonly progress?: ProgressSink;
  /** Where sentences for the user go; the progress bar, else the console. */
  readonly notify?: (message: string) => void;
  /** Read and check the loss in every step; by default where that is free (cpu, wasm, blas). */
  readonly checkEveryStep?: boolean;
  /** Record steps where the backend can (`cuda`: as CUDA graphs; `webgpu`: as lists of commands), which changes their speed; default true. */
  readonly recordSteps?: boolean;
  /** Aborting it ends the run after the current micro-batch or step, with a checkpoint of the last complete step. */
  readonly signal?: AbortSignal;
  /**
   * The other processes of this run, which all have the same model, samples and options (`ProcessGroup` of `@spft/distributed`). The signal may be
   * aborted on any of them; what callbacks do to `control` must be the same on all. Only rank 0 writes checkpoints.
   */
  readonly ranks?: Ranks | null;
  /**
   * Where each rank holds a part of the base's weights (`WeightShards` of sparse-ops), so that all must use them alike: a rank that has fewer micro-batches
   * than another, in training or evaluation, runs one along that counts for nothing.
   */
  readonly shards?: { settle(): void } | null;
  /**
   * Whether ranks exchange values within a forward pass of training, so that all must run equally many micro-batches: one that has fewer runs the step's
   * first along, whose loss and gradient count for nothing.
   */
  readonly lockstep?: boolean;
  /** Micro-batches of a step, over all ranks; by default `gradient_accumulation_steps` for each rank. */
  readonly microBatches?: number;
}

export const TRAINER_OPTIONS: OptionNames<TrainerOptions> = {
  ...{
    model: true,
    samples: true,
    args: true,
    evalSamples: true,
    evaluator: true,
    denseTokens: true,
    callbacks: true,
    checkpoints: true,
  },
  ...{ checkpointFiles: true, progress: true, notify: true, checkEveryStep: true, recordSteps: true, signal: true },
  ...{
    ranks: true,
    shards: true,
    lockstep: true,
    microBatches: true,
    vocabSize: true,
    longSamples: true,
    unlabelledSamples: true,
  },
};

export interface TrainOutput {
  readonly globalStep: number;
  /** Whether the signal, on this rank or another, ended the run before its last step. */
  readonly interrupted: boolean;
  /** Mean loss of all steps. */
  readonly trainLoss: number;
  readonly state: TrainerState;
  /** Median seconds a step and tokens a second, without the first steps. */
  readonly speed: StepSummary;
  /** Seconds of every step that this process made. */
  readonly stepSeconds: readonly number[];
}
