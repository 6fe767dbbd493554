/**
 * @file One optimizer step: collation, forward and backward of every micro-batch, clipping, update. Recorded by the backend where it can
 * (`RecordedSteps`), else call by call.
 */
import type { PreparedBatch } from '@spft/models';
import { clipScale, globalNorm } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { type CollatedBatch, collate, type DenseTokens } from '../batch/collate.js';
import type { SampleSource } from '../batch/sample-source.js';
import { countLabels, type PreparedSample } from '../batch/samples.js';
import type { StepRecord } from '../record/step-record.js';
import { fire, type TrainerCallback, type TrainerContext } from './callbacks.js';
import { GradientSum, type LossAndGradients, lossAndGradients } from './gradients.js';
import { readsAreFree } from './host-reads.js';
import { nextTurn } from './next-turn.js';
import type { Optimizer } from './optimizer.js';
import { plannedSizes } from './planned-sizes.js';
import { seedFrom } from './random.js';
import { ownOf, type Ranks } from './ranks.js';
import { RecordedSteps } from './recorded-steps.js';
import type { RunPlan } from './run-plan.js';
import { SharedGradients } from './shared-gradients.js';
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
  readonly ranks: Ranks | null;
}

export interface StepPosition {
  readonly step: number;
  readonly learningRate: number;
  /** For messages. */
  readonly lastCheckpoint: string | null;
}

/** A micro-batch of this rank, by its number among those of all ranks, which is what it is seeded by. */
interface OwnBatch {
  readonly index: number;
  readonly seed: number;
  readonly collated: CollatedBatch;
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

  /**
   * Does a step, whose losses go to the record.
   * @param batches of all ranks.
   * @returns its tokens, on all ranks; null where it was given up between micro-batches, as its signal was aborted.
   */
  async run(batches: Batches, position: StepPosition): Promise<number | null> {
    const { record, options } = this.#parts;
    const { step, learningRate } = position;
    const own = this.#collate(batches, step);
    const idle = this.#idle(batches, own.length, step);
    const all = batches.flat();
    const normalizer = total(all, (sample) => countLabels(sample.labels));
    const seeds = own.map(({ seed }) => seed);
    const prepared = this.#recorded && own.length > 0 && idle === null ? this.#prepare(own) : null;
    const recorded = prepared && this.#recorded?.step({ batches: prepared, seeds, normalizer, learningRate });
    if (recorded) {
      recorded.losses.forEach((loss, n) => {
        const { index } = own[n]!;
        record.addLoss(loss, step + 1, index, indicesOf(batches[index]!));
      });
      record.addGradientNorm(recorded.gradientNorm, step + 1, batches.flatMap(indicesOf));
    } else if (!(await this.#compute(batches, own, idle, normalizer, position))) return null;
    // However this rank did it, all go on from the same.
    options.shards?.settle();
    return total(all, (sample) => sample.inputIds.length);
  }

  dispose(): void {
    this.#recorded?.dispose();
  }

  /** Call by call. @returns false where the step was given up. */
  async #compute(
    batches: Batches,
    own: readonly OwnBatch[],
    idle: OwnBatch | null,
    normalizer: number,
    { step, learningRate, lastCheckpoint }: StepPosition,
  ): Promise<boolean> {
    const { options, args, record, callbacks, context, optimizer, ranks } = this.#parts;
    const shared = ranks && new SharedGradients([...options.model.variables.values()], ranks);
    let gradients = new GradientSum();
    let gradientScale: tf.Scalar | undefined;
    const gradientsOf = ({ seed, collated }: OwnBatch, normalizer: number) =>
      lossAndGradients(options.model, collated, {
        training: true,
        seed,
        gradientCheckpointing: args.gradientCheckpointing,
        labelSmoothing: args.labelSmoothingFactor,
        neftuneNoiseAlpha: args.neftuneNoiseAlpha ?? 0,
        normalizer,
      });
    try {
      if (idle) {
        // Its loss and its gradients are zeros. Sums go out with the last micro-batch, on this rank as on the others.
        const take = () => gradientsOf(idle, Number.POSITIVE_INFINITY);
        if (own.length === 0 && shared) shared.last(null, take).dispose();
        else {
          const { loss, gradients } = take();
          tf.dispose([loss, ...gradients]);
        }
      }
      for (const [n, { index, seed, collated }] of own.entries()) {
        const take = () => gradientsOf({ index, seed, collated }, normalizer);
        const isLast = n + 1 === own.length;
        const loss = isLast && shared ? shared.last(gradients, take) : keptIn(gradients, take());
        record.addLoss(loss, step + 1, index, indicesOf(batches[index]!));
        if (isLast) break;
        await fire(callbacks, 'onSubstepEnd', context());
        if (options.signal) await nextTurn();
        // Of several ranks none may leave the others alone with a step.
        if (options.signal?.aborted && !ranks) return false;
      }
      if (shared) {
        const sums = await shared.sums();
        gradients.dispose();
        gradients = sums;
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
      shared?.dispose();
      gradientScale?.dispose();
    }
  }

  #collate(batches: Batches, step: number): OwnBatch[] {
    const { denseTokens, args, options, ranks } = this.#parts;
    const { vocabSize } = options.model;
    return ownOf(batches, ranks).map(({ item, index }) => {
      const seed = seedFrom(args.seed, step, index);
      return { index, seed, collated: collate(item, { denseTokens, vocabSize, seed }) };
    });
  }

  /** A micro-batch that this rank runs along, where it has fewer than others and all must use the base's weights alike. */
  #idle(batches: Batches, count: number, step: number): OwnBatch | null {
    const { options, ranks, args, denseTokens } = this.#parts;
    if (!(options.shards || options.lockstep) || !ranks || count >= Math.ceil(batches.length / ranks.size)) return null;
    const { vocabSize } = options.model;
    const seed = seedFrom(args.seed, step, 0);
    return { index: 0, seed, collated: collate(batches[0]!, { denseTokens, vocabSize, seed }) };
  }

  #prepare(own: readonly OwnBatch[]): PreparedBatch[] {
    const { recordable } = this.#parts.options.model;
    return own.map(({ collated }) => ({ layout: collated.layout, rows: recordable!.rows(collated) }));
  }

  /** Where the backend can and nothing wants to look into a step; said where something does. */
  #recordSteps(): RecordedSteps | null {
    const { options, args, samples, optimizer, callbacks, notify, plan, dataSeed, ranks } = this.#parts;
    const { model, recordSteps = true } = options;
    if (!recordSteps || !model.recordable) return null;
    // What these draw or choose on the host is no input of a recording.
    if (!optimizer.records || args.labelSmoothingFactor > 0 || args.neftuneNoiseAlpha || args.groupByLength)
      return null;
    const looks = callbacks.some((callback) => callback.onSubstepEnd || callback.onPreOptimizerStep);
    const unsummed = ranks !== null && !ranks.tensors.records;
    const sizes = () =>
      looks || unsummed || this.#checksEveryStep
        ? { sizes: [], isAll: true }
        : plannedSizes(plan, dataSeed, (micro, step) => {
            const batches = micro.map((batch) => batch.map((sample) => samples.sample(sample)));
            return this.#prepare(this.#collate(batches, step));
          });
    const { maxGradNorm, gradientCheckpointing } = args;
    const made = RecordedSteps.of(model, optimizer, { maxGradNorm, gradientCheckpointing }, sizes, notify, ranks);
    if (!made || !(looks || unsummed || this.#checksEveryStep)) return made;
    const why = looks
      ? 'a callback has onSubstepEnd or onPreOptimizerStep'
      : unsummed
        ? 'the gradients of several ranks are summed by way of the host'
        : 'the loss is checked before each update';
    notify(`steps are launched one call at a time, not recorded: ${why}`);
    made.dispose();
    return null;
  }
}

/** Adds gradients to a sum, which takes them over. @returns the loss. */
function keptIn(sum: GradientSum, { loss, gradients }: LossAndGradients): tf.Scalar {
  sum.add(gradients);
  return loss;
}

const indicesOf = (samples: readonly PreparedSample[]): number[] => samples.map((sample) => sample.index);

function total<T>(items: readonly T[], value: (item: T) => number): number {
  return items.reduce((sum, item) => sum + value(item), 0);
}
