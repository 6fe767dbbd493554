/**
 * @file Optimizer steps that the backend records and repeats without the host (`StepRecorder` of sparse-ops): the same step as the trainer's own,
 * as a function of arrays.
 */
import type { PreparedBatch, RecordableLoss, TrainableModel } from '@spft/models';
import { clipScale, createStepRecorder, globalNorm, type StepInputs, type StepRecorder } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { batchInputs, batchOfInputs, padBatch } from '../batch/padded-batch.js';
import { joinSizes, type StepShape, StepShapes, sizeOf } from '../batch/step-shapes.js';
import { GradientSum, gradientsOf } from './gradients.js';
import type { Optimizer } from './optimizer.js';
import type { PlannedSizes } from './planned-sizes.js';
import type { Ranks } from './ranks.js';
import { StepSelections, tellSelections } from './recorded-selections.js';
import { SharedGradients } from './shared-gradients.js';

/** Shapes of steps, each of which is kept; twice where steps are sparse or dense. */
export const MOST_GRAPHS = 8;

export interface StepValues {
  /** Micro-batches, with all that their losses depend on. */
  readonly batches: readonly PreparedBatch[];
  readonly seeds: readonly number[];
  /** Labelled tokens of all. */
  readonly normalizer: number;
  readonly learningRate: number;
}

export interface StepRules {
  /** Largest norm of the gradients; 0 for none. */
  readonly maxGradNorm: number;
  readonly gradientCheckpointing: boolean;
}

/** Owned by the caller. */
export interface StepResult {
  /** Of each micro-batch. */
  readonly losses: readonly tf.Scalar[];
  /** Of the gradients before clipping. */
  readonly gradientNorm: tf.Scalar;
}

/** Floating-point operations of a row and a frozen number: forward, and the gradient of what came in. */
const FLOPS_OF_WEIGHT = 4;

/**
 * Rows that the device could do in the time that one more shape costs, of as many steps as are looked at: a run of a few hundred steps of a small model has
 * fewer shapes and more padding than a long one, or a large model's.
 */
function worthOfShape({ keyFlops = 0 }: StepRecorder, loss: RecordableLoss, looked: number, steps: number): number {
  const parameters = loss.parameterCount?.() ?? 0;
  return parameters > 0 && steps > 0 ? (keyFlops / (FLOPS_OF_WEIGHT * parameters)) * (looked / steps) : 0;
}

export class RecordedSteps {
  readonly recorder: StepRecorder;
  readonly #model: TrainableModel;
  readonly #loss: RecordableLoss;
  readonly #optimizer: Optimizer;
  readonly #rules: StepRules;
  readonly #shapes: StepShapes;
  readonly #ranks: Ranks | null;
  /** Of which layers the results behind losses and norm are the selections, by the steps' keys. */
  readonly #selected = new Map<string, StepSelections['places']>();

  private constructor(
    recorder: StepRecorder,
    model: TrainableModel,
    loss: RecordableLoss,
    optimizer: Optimizer,
    rules: StepRules,
    shapes: StepShapes,
    ranks: Ranks | null,
  ) {
    this.recorder = recorder;
    this.#model = model;
    this.#loss = loss;
    this.#optimizer = optimizer;
    this.#rules = rules;
    this.#shapes = shapes;
    this.#ranks = ranks;
  }

  /**
   * @param sizes of the steps to come, as far as they are known: from them the shapes are chosen to which batches are padded.
   * @param ranks over which gradients are summed, in the recording.
   * @returns owned by the caller; null where the backend records nothing, or the model cannot be recorded.
   */
  static of(
    model: TrainableModel,
    optimizer: Optimizer,
    rules: StepRules,
    sizes: () => PlannedSizes,
    notify?: (message: string) => void,
    ranks: Ranks | null = null,
  ): RecordedSteps | null {
    const { recordable } = model;
    if (!recordable) return null;
    // A schedule that changes between sparse and dense steps must not make the one's recordings push out the other's.
    const graphs = model.sparsity ? 2 * MOST_GRAPHS : MOST_GRAPHS;
    const recorder = createStepRecorder({ graphs, ...(notify && { notify }) });
    if (!recorder) return null;
    const { sizes: known, isAll, steps = known.length } = sizes();
    const shapes = new StepShapes(known, MOST_GRAPHS, isAll, worthOfShape(recorder, recordable, known.length, steps));
    return new RecordedSteps(recorder, model, recordable, optimizer, rules, shapes, ranks);
  }

  /** Forward, backward, clipping, update. @returns null where this step has to be done otherwise; then nothing was done. */
  step({ batches, seeds, normalizer, learningRate }: StepValues): StepResult | null {
    const size = joinSizes(batches.map(({ layout, rows }) => sizeOf(layout, rows)));
    const shape = this.#shapes.of(size);
    const padded = batches.map((batch) => padBatch(batch, shape));
    const pads = padded.some(({ layout }, n) => layout.tokens !== batches[n]!.layout.tokens);
    const modelKey = this.#loss.key(pads);
    if (modelKey === null) return null;
    const inputs: StepInputs = {
      ...Object.assign({}, ...padded.map(batchInputs)),
      ...Object.fromEntries(seeds.map((seed, n) => [`maskSeeds${n}`, this.#loss.maskSeeds(seed)])),
      normalizer: Float32Array.of(normalizer),
      ...this.#optimizer.numbers(learningRate),
    };
    const key = [modelKey, batches.length, ...Object.values(shape)].join(' ');
    const work = (inputs: StepInputs) => {
      const { results, places } = this.#work(inputs, shape, seeds, learningRate);
      this.#selected.set(key, places);
      return results;
    };
    const listener = this.#loss.listener?.() ?? null;
    const own = batches.length + 1;
    const results = this.recorder.run(key, inputs, work, {}, listener ? undefined : own);
    this.#optimizer.resumeAt(this.#optimizer.steps + 1);
    const indices = results.splice(own);
    try {
      if (listener) tellSelections(listener, this.#selected.get(key)!, indices);
    } catch (error) {
      tf.dispose(results);
      throw error;
    }
    const losses = results.slice(0, batches.length) as tf.Scalar[];
    return { losses, gradientNorm: results[batches.length] as tf.Scalar };
  }

  /** @returns losses, the norm, and what was selected. */
  #work(
    inputs: StepInputs,
    shape: StepShape,
    seeds: readonly number[],
    learningRate: number,
  ): { results: tf.Tensor[]; places: StepSelections['places'] } {
    const { maxGradNorm, gradientCheckpointing } = this.#rules;
    const variables = [...this.#model.variables.values()];
    let gradients = new GradientSum();
    const shared = this.#ranks && new SharedGradients(variables, this.#ranks);
    const results: tf.Tensor[] = [];
    const selections = new StepSelections();
    let gradientScale: tf.Scalar | undefined;
    const normalizer = tf.tidy(() => tf.reshape(tf.tensor1d(inputs.normalizer!), []) as tf.Scalar);
    try {
      seeds.forEach((seed, n) => {
        const batch = batchOfInputs(inputs, n, shape);
        const maskSeeds = inputs[`maskSeeds${n}`] as Int32Array;
        const onSelection = selections.listener;
        const options = { training: true, seed, gradientCheckpointing, normalizer, maskSeeds, onSelection };
        const take = () => gradientsOf(() => this.#loss.loss(batch, options), variables);
        if (shared && n + 1 === seeds.length) {
          results.push(shared.last(gradients, take));
          return;
        }
        const result = take();
        gradients.add(result.gradients);
        results.push(result.loss);
      });
      if (shared) {
        gradients.dispose();
        gradients = shared.sumsNow();
      }
      const norm = globalNorm(gradients.tensors);
      results.push(norm);
      if (maxGradNorm > 0) gradientScale = clipScale(norm, maxGradNorm);
      this.#optimizer.update(gradients.tensors, { learningRate, gradientScale, inputs });
      results.push(...selections.take());
      return { results, places: selections.places };
    } catch (error) {
      tf.dispose(results);
      throw error;
    } finally {
      selections.dispose();
      gradients.dispose();
      shared?.dispose();
      tf.dispose([normalizer, ...(gradientScale ? [gradientScale] : [])]);
    }
  }

  dispose(): void {
    this.recorder.dispose();
  }
}
