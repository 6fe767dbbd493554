/**
 * @file Optimizers: what they remember between steps, around the update ops of `@spft/sparse-ops`.
 */
import { adamwUpdate, sgdUpdate } from '@spft/sparse-ops';
import { adamwNumbers, sgdNumbers } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { TrainerError } from '../errors.js';
import { Adamw8bit } from './adamw-8bit.js';
import {
  type Group,
  MomentOptimizer,
  type Optimizer,
  type OptimizerArgs,
  type OptimizerStep,
  pick,
  UNDECAYED,
} from './moment-optimizer.js';

export type { Optimizer, OptimizerArgs, OptimizerStep } from './moment-optimizer.js';

/** @throws TrainerError when there is nothing to optimise, or the backend has no place for the state that is asked for. */
export function createOptimizer(variables: ReadonlyMap<string, tf.Variable>, args: OptimizerArgs): Optimizer {
  if (variables.size === 0) {
    throw new TrainerError('options', 'the model has no trainable variable; attach an adapter first (getPeftModel)');
  }
  if (args.optim === 'sgd') return new Sgd(variables, args);
  if (args.optim === 'lion') return new Lion(variables, args);
  if (args.optim.endsWith('8bit')) {
    if (args.optim.startsWith('paged')) requireHostMemory(variables);
    return new Adamw8bit(variables, args);
  }
  return args.optim === 'adafactor' ? new Adafactor(variables, args) : new AdamW(variables, args);
}

/** Backends whose tensors lie in the host's memory, so that a paged state is what any state is. */
const IN_HOST_MEMORY = new Set(['cpu', 'wasm', 'blas', 'tensorflow']);

/** @throws TrainerError where a paged state would have to be moved between host and device. */
function requireHostMemory(variables: ReadonlyMap<string, tf.Variable>): void {
  const backend = tf.getBackend();
  if (IN_HOST_MEMORY.has(backend)) return;
  const numbers = [...variables.values()].reduce((sum, { size }) => sum + size, 0);
  throw new TrainerError(
    'options',
    `optim paged_adamw_8bit: the backend ${backend} keeps all tensors on its device and pages none out; the state of ${numbers} trained numbers takes ` +
      `${((2 * numbers) / 2 ** 20).toFixed(1)} MiB in 8 bits. Take adamw_8bit, which computes the same`,
  );
}

class AdamW extends MomentOptimizer {
  readonly name = 'adamw';
  readonly #first: readonly tf.Variable[];
  readonly #second: readonly tf.Variable[];

  constructor(
    variables: ReadonlyMap<string, tf.Variable>,
    readonly args: OptimizerArgs,
  ) {
    super(variables, args.weightDecay);
    this.#first = this.remember('exp_avg');
    this.#second = this.remember('exp_avg_sq');
  }

  override update(gradients: readonly tf.Tensor[], options: OptimizerStep): void {
    const { learningRate, gradientScale } = options;
    for (const group of this.groups) {
      const { indices } = group;
      adamwUpdate(
        pick(this.parameters, indices),
        pick(gradients, indices),
        { firstMoments: pick(this.#first, indices), secondMoments: pick(this.#second, indices) },
        { ...this.#options(group, learningRate), gradientScale, ...this.recorded(options, group) },
      );
    }
  }

  protected override numbersOf(group: Group, learningRate: number): readonly number[] {
    return adamwNumbers(this.#options(group, learningRate));
  }

  #options({ weightDecay }: Group, learningRate: number) {
    const { adamBeta1: beta1, adamBeta2: beta2, adamEpsilon: epsilon } = this.args;
    return { learningRate, step: this.steps + 1, weightDecay, beta1, beta2, epsilon };
  }
}

class Sgd extends MomentOptimizer {
  readonly name = 'sgd';
  readonly #momenta: readonly tf.Variable[];

  constructor(
    variables: ReadonlyMap<string, tf.Variable>,
    readonly args: OptimizerArgs,
  ) {
    super(variables, args.weightDecay);
    this.#momenta = args.momentum === 0 ? [] : this.remember('momentum_buffer');
  }

  override update(gradients: readonly tf.Tensor[], options: OptimizerStep): void {
    const { momentum } = this.args;
    const { learningRate, gradientScale } = options;
    for (const group of this.groups) {
      const { indices, weightDecay } = group;
      sgdUpdate(
        pick(this.parameters, indices),
        pick(gradients, indices),
        { momenta: momentum === 0 ? [] : pick(this.#momenta, indices) },
        { learningRate, gradientScale, weightDecay, momentum, ...this.recorded(options, group) },
      );
    }
  }

  protected override numbersOf(_: Group, learningRate: number): readonly number[] {
    return sgdNumbers({ learningRate });
  }
}

/** Lion (arXiv 2302.06675): the sign of a mix of momentum and gradient; half of AdamW's memory. */
class Lion extends MomentOptimizer {
  readonly name = 'lion';
  override readonly records = false;
  readonly #momenta: readonly tf.Variable[];

  constructor(
    variables: ReadonlyMap<string, tf.Variable>,
    readonly args: OptimizerArgs,
  ) {
    super(variables, args.weightDecay);
    this.#momenta = this.remember('exp_avg');
  }

  protected override numbersOf(): readonly number[] {
    return [];
  }

  override update(gradients: readonly tf.Tensor[], { learningRate, gradientScale }: OptimizerStep): void {
    const { adamBeta1: beta1, adamBeta2: beta2, weightDecay } = this.args;
    this.parameters.forEach((parameter, n) => {
      tf.tidy(() => {
        const momentum = this.#momenta[n]!;
        const gradient = gradientScale ? tf.mul(gradients[n]!, gradientScale) : gradients[n]!;
        const mix = tf.add(tf.mul(momentum, beta1), tf.mul(gradient, 1 - beta1));
        // As a difference of comparisons: the wasm backend has no kernel for the sign.
        const sign = tf.sub(tf.cast(tf.greater(mix, 0), 'float32'), tf.cast(tf.less(mix, 0), 'float32'));
        const decay = UNDECAYED.test(this.names[n]!) ? 0 : weightDecay;
        parameter.assign(tf.sub(tf.mul(parameter, 1 - learningRate * decay), tf.mul(sign, learningRate)));
        momentum.assign(tf.add(tf.mul(momentum, beta2), tf.mul(gradient, 1 - beta2)));
      });
    });
  }
}

/** transformers' constants: eps[0], clip_threshold, decay_rate. */
const [SQUARE_EPSILON, CLIP, DECAY_RATE] = [1e-30, 1, -0.8];

/**
 * Adafactor (arXiv 1804.04235) as transformers' Trainer sets it: the given rate, no scaling by the parameter's size, no momentum. Of a
 * matrix only the means of rows and columns of the squared gradient are remembered.
 */
class Adafactor extends MomentOptimizer {
  readonly name = 'adafactor';
  override readonly records = false;
  readonly #squares: readonly (readonly [row: tf.Variable, column: tf.Variable] | readonly [whole: tf.Variable])[];

  constructor(
    variables: ReadonlyMap<string, tf.Variable>,
    readonly args: OptimizerArgs,
  ) {
    super(variables, args.weightDecay);
    this.#squares = this.parameters.map(({ shape }, n) => {
      const name = this.names[n]!;
      return shape.length < 2
        ? ([this.rememberAs('exp_avg_sq', name, shape)] as const)
        : ([
            this.rememberAs('exp_avg_sq_row', name, shape.slice(0, -1)),
            this.rememberAs('exp_avg_sq_col', name, [...shape.slice(0, -2), shape.at(-1)!]),
          ] as const);
    });
  }

  protected override numbersOf(): readonly number[] {
    return [];
  }

  override update(gradients: readonly tf.Tensor[], { learningRate, gradientScale }: OptimizerStep): void {
    const beta2 = 1 - (this.steps + 1) ** DECAY_RATE;
    const { weightDecay } = this.args;
    this.parameters.forEach((parameter, n) => {
      tf.tidy(() => {
        const gradient = gradientScale ? tf.mul(gradients[n]!, gradientScale) : gradients[n]!;
        const square = tf.add(tf.square(gradient), SQUARE_EPSILON);
        const [row, column] = this.#squares[n]!;
        let scale: tf.Tensor;
        const mix = (old: tf.Variable, now: tf.Tensor) =>
          old.assign(tf.add(tf.mul(old, beta2), tf.mul(now, 1 - beta2)));
        if (column === undefined) {
          mix(row, square);
          scale = tf.rsqrt(row);
        } else {
          mix(row, tf.mean(square, -1));
          mix(column, tf.mean(square, -2));
          const ofRows = tf.rsqrt(tf.div(row, tf.mean(row, -1, true)));
          scale = tf.mul(tf.expandDims(ofRows, -1), tf.expandDims(tf.rsqrt(column), -2));
        }
        const update = tf.mul(gradient, scale);
        const size = tf.sqrt(tf.mean(tf.square(update)));
        const clipped = tf.div(update, tf.maximum(tf.div(size, CLIP), 1));
        const decay = UNDECAYED.test(this.names[n]!) ? 0 : weightDecay;
        parameter.assign(tf.sub(tf.mul(parameter, 1 - learningRate * decay), tf.mul(clipped, learningRate)));
      });
    });
  }
}
