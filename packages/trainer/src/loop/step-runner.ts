/**
 * @file One optimizer step: collation, forward and backward of every micro-batch, clipping, update. Recorded by the backend where it can
 * (`RecordedSteps`), else call by call.
 */
import type { PreparedBatch } from '@spft/models';
import { clipScale, globalNorm } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import { type CollatedBatch, collate, type DenseTokens } from '../batch/collate.js';
import type { SampleSource } from '../batch/sample-source.js';
import type { PreparedSample } from '../batch/samples.js';
import type { StepRecord } from '../record/step-record.js';
import { fire, type TrainerCallback, type TrainerContext } from './callbacks.js';
import { GradientSum, lossAndGradients } from './gradients.js';
import { readsAreFree } from './host-reads.js';
import type { Optimizer } from './optimizer.js';
import { plannedSizes } from './planned-sizes.js';
import { seedFrom } from './random.js';
import { RecordedSteps } from './recorded-steps.js';
import type { RunPlan } from './run-plan.js';
import type { TrainerOptions } from './trainer-options.js';
import type { StepArgs } from './training-args.js';

/** What a runner has from its trainer; nothing of it is owned here. */
export interface StepRunnerParts {
  readonly options: TrainerOptions;
  readonly args: StepArgs;
  readonly samples: SampleSource;
  readonly denseTokens: DenseTokens | undefined;
  readonly optimizer: Optimizer;
  readonly callbacks: readonly TrainerCallback[];
  /** Where losses and norms go. */
  readonly record: StepRecord;
  readonly notify: (message: string) => void;
  readonly context: () => TrainerContext;
  readonly plan: RunPlan;
  readonly dataSeed: number;
}

export interface StepPosition {
  readonly step: number;
  readonly learningRate: number;
  /** For messages. */
  readonly lastCheckpoint: string | null;
}

/** A step's micro-batches, and the seed of each. */
interface CollatedStep {
  readonly seeds: readonly number[];
  readonly collated: readonly CollatedBatch[];
}

type Batches = readonly (readonly PreparedSample[])[];

export class StepRunner {
  readonly #parts: StepRunnerParts;
  readonly #checksEveryStep: boolean;
  readonly #recorded: RecordedSteps | null;

  constructor(parts: StepRunnerParts) {
    this.#parts = parts;
    this.#checksEveryStep = parts.options.checkEveryStep ?? readsAreFree();
    this.#recorded = this.#recordSteps();
  }

  /** Does a step, whose losses go to the record. @returns its tokens; null where it was given up between micro-batches, as its signal was aborted. */
  async run(batches: Batches, position: StepPosition): Promise<number | null> {
    const { record } = this.#parts;
    const { step, learningRate } = position;
    const made = this.#collate(batches, step);
    const { seeds, collated } = made;
    const normalizer = total(collated, (batch) => batch.labelCount);
    const recorded = this.#recorded?.step({ batches: this.#prepare(collated), seeds, normalizer, learningRate });
    if (recorded) {
      recorded.losses.forEach((loss, n) => {
        record.addLoss(loss, step + 1, indicesOf(batches[n]!));
      });
      record.addGradientNorm(recorded.gradientNorm, step + 1, batches.flatMap(indicesOf));
    } else if (!(await this.#compute(batches, made, normalizer, position))) return null;
    return total(collated, (batch) => batch.layout.tokens);
  }

  dispose(): void {
    this.#recorded?.dispose();
  }

  /** Call by call. @returns false where the step was given up. */
  async #compute(
    batches: Batches,
    { seeds, collated }: CollatedStep,
    normalizer: number,
    { step, learningRate, lastCheckpoint }: StepPosition,
  ): Promise<boolean> {
    const { options, args, record, callbacks, context, optimizer } = this.#parts;
    const gradients = new GradientSum();
    let gradientScale: tf.Scalar | undefined;
    try {
      for (const [n, batch] of collated.entries()) {
        const result = lossAndGradients(options.model, batch, {
          training: true,
          seed: seeds[n]!,
          gradientCheckpointing: args.gradientCheckpointing,
          labelSmoothing: args.labelSmoothingFactor,
          neftuneNoiseAlpha: args.neftuneNoiseAlpha ?? 0,
          normalizer,
        });
        gradients.add(result.gradients);
        record.addLoss(result.loss, step + 1, indicesOf(batches[n]!));
        if (n + 1 === collated.length) break;
        await fire(callbacks, 'onSubstepEnd', context());
        if (options.signal) await nextTurn();
        if (options.signal?.aborted) return false;
      }
      const norm = globalNorm(gradients.tensors);
      record.addGradientNorm(norm, step + 1, batches.flatMap(indicesOf));
      if (args.maxGradNorm > 0) gradientScale = clipScale(norm, args.maxGradNorm);
      // Before the update, so that a bad loss leaves the variables as they were.
      if (this.#checksEveryStep) await record.read(lastCheckpoint);
      await fire(callbacks, 'onPreOptimizerStep', context());
      optimizer.step(gradients.tensors, { learningRate, gradientScale });
      return true;
    } finally {
      gradients.dispose();
      gradientScale?.dispose();
    }
  }

  #collate(batches: Batches, step: number): CollatedStep {
    const { denseTokens, args, options } = this.#parts;
    const { vocabSize } = options.model;
    const seeds = batches.map((_, n) => seedFrom(args.seed, step, n));
    return { seeds, collated: batches.map((batch, n) => collate(batch, { denseTokens, vocabSize, seed: seeds[n] })) };
  }

  #prepare(collated: readonly CollatedBatch[]): PreparedBatch[] {
    const { recordable } = this.#parts.options.model;
    return collated.map((batch) => ({ layout: batch.layout, rows: recordable!.rows(batch) }));
  }

  /** Where the backend can and nothing wants to look into a step; said where something does. */
  #recordSteps(): RecordedSteps | null {
    const { options, args, samples, optimizer, callbacks, notify, plan, dataSeed } = this.#parts;
    const { model, recordSteps = true } = options;
    if (!recordSteps || !model.recordable) return null;
    // What these draw or choose on the host is no input of a recording.
    if (!optimizer.records || args.labelSmoothingFactor > 0 || args.neftuneNoiseAlpha || args.groupByLength)
      return null;
    const looks = callbacks.some((callback) => callback.onSubstepEnd || callback.onPreOptimizerStep);
    const sizes = () =>
      looks || this.#checksEveryStep
        ? { sizes: [], isAll: true }
        : plannedSizes(plan, dataSeed, (micro, step) => {
            const batches = micro.map((batch) => batch.map((sample) => samples.sample(sample)));
            return this.#prepare(this.#collate(batches, step).collated);
          });
    const { maxGradNorm, gradientCheckpointing } = args;
    const made = RecordedSteps.of(model, optimizer, { maxGradNorm, gradientCheckpointing }, sizes, notify);
    if (!made || !(looks || this.#checksEveryStep)) return made;
    const why = looks ? 'a callback has onSubstepEnd or onPreOptimizerStep' : 'the loss is checked before each update';
    notify(`steps are launched one call at a time, not recorded: ${why}`);
    made.dispose();
    return null;
  }
}

/** Micro-batches that compute synchronously leave no turn to whoever would abort the run. */
const nextTurn = (): Promise<void> =>
  new Promise((resume) => {
    if (typeof setImmediate === 'function') setImmediate(resume);
    else setTimeout(resume);
  });

const indicesOf = (samples: readonly PreparedSample[]): number[] => samples.map((sample) => sample.index);

function total<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
