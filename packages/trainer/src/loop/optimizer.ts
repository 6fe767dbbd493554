/**
 * @file Optimizers: what they remember between steps, around the update ops of `@spft/sparse-ops`.
 */
import { adamwUpdate, sgdUpdate, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { TrainerError } from '../errors.js';
import type { TrainingArgs } from './training-args.js';

export interface OptimizerStep {
  readonly learningRate: number;
  /** Every gradient is multiplied by it (clipping). */
  readonly gradientScale?: tf.Scalar;
}

/** Updates the variables that it was made for; owns its moments. */
export interface Optimizer {
  /** `adamw` or `sgd`: checkpoints of one do not fit the other. */
  readonly name: string;
  /** Steps taken. */
  readonly steps: number;
  /** @param gradients one for each variable, in order; not disposed here. */
  step(gradients: readonly tf.Tensor[], options: OptimizerStep): void;
  /** What a checkpoint must hold, by PyTorch's names: `exp_avg.<variable>`, `exp_avg_sq.<variable>`, `momentum_buffer.<variable>`. */
  readonly moments: ReadonlyMap<string, tf.Variable>;
  /** Continues after `steps` steps; the moments are assigned by the caller. */
  resumeAt(steps: number): void;
  dispose(): void;
}

export type OptimizerArgs = Pick<
  TrainingArgs,
  'optim' | 'weightDecay' | 'adamBeta1' | 'adamBeta2' | 'adamEpsilon' | 'momentum'
>;

/** Names that transformers' Trainer leaves out of weight decay. */
const UNDECAYED = /bias|layernorm|rmsnorm|(^|[._])norm($|\.)/i;

/** @throws TrainerError when there is nothing to optimise. */
export function createOptimizer(variables: ReadonlyMap<string, tf.Variable>, args: OptimizerArgs): Optimizer {
  if (variables.size === 0) {
    throw new TrainerError('options', 'the model has no trainable variable; attach an adapter first (getPeftModel)');
  }
  return args.optim === 'sgd' ? new Sgd(variables, args) : new AdamW(variables, args);
}

/** Runs an update once for the variables with weight decay and once for those without, where both exist. */
function byDecay(
  names: readonly string[],
  weightDecay: number,
  update: (indices: readonly number[], weightDecay: number) => void,
): void {
  const all = names.map((_, n) => n);
  if (weightDecay === 0) {
    update(all, 0);
    return;
  }
  const decayed = all.filter((n) => !UNDECAYED.test(names[n]!));
  const others = all.filter((n) => UNDECAYED.test(names[n]!));
  if (decayed.length > 0) update(decayed, weightDecay);
  if (others.length > 0) update(others, 0);
}

const pick = <T>(items: readonly T[], indices: readonly number[]): T[] => indices.map((n) => items[n]!);

abstract class MomentOptimizer implements Optimizer {
  abstract readonly name: string;
  readonly moments = new Map<string, tf.Variable>();
  protected readonly names: readonly string[];
  protected readonly parameters: readonly tf.Variable[];
  #steps = 0;

  constructor(variables: ReadonlyMap<string, tf.Variable>) {
    this.names = [...variables.keys()];
    this.parameters = [...variables.values()];
  }

  get steps(): number {
    return this.#steps;
  }

  step(gradients: readonly tf.Tensor[], options: OptimizerStep): void {
    this.#steps++;
    this.update(gradients, options);
  }

  resumeAt(steps: number): void {
    this.#steps = steps;
  }

  dispose(): void {
    tf.dispose([...this.moments.values()]);
    this.moments.clear();
  }

  protected abstract update(gradients: readonly tf.Tensor[], options: OptimizerStep): void;

  protected remember(kind: string): tf.Variable[] {
    const moments = zeroMoments(this.parameters);
    moments.forEach((moment, n) => {
      this.moments.set(`${kind}.${this.names[n]}`, moment);
    });
    return moments;
  }
}

class AdamW extends MomentOptimizer {
  readonly name = 'adamw';
  readonly #first: readonly tf.Variable[];
  readonly #second: readonly tf.Variable[];

  constructor(
    variables: ReadonlyMap<string, tf.Variable>,
    readonly args: OptimizerArgs,
  ) {
    super(variables);
    this.#first = this.remember('exp_avg');
    this.#second = this.remember('exp_avg_sq');
  }

  protected override update(gradients: readonly tf.Tensor[], options: OptimizerStep): void {
    const { weightDecay, adamBeta1: beta1, adamBeta2: beta2, adamEpsilon: epsilon } = this.args;
    byDecay(this.names, weightDecay, (n, weightDecay) =>
      adamwUpdate(
        pick(this.parameters, n),
        pick(gradients, n),
        { firstMoments: pick(this.#first, n), secondMoments: pick(this.#second, n) },
        { ...options, step: this.steps, weightDecay, beta1, beta2, epsilon },
      ),
    );
  }
}

class Sgd extends MomentOptimizer {
  readonly name = 'sgd';
  readonly #momenta: readonly tf.Variable[];

  constructor(
    variables: ReadonlyMap<string, tf.Variable>,
    readonly args: OptimizerArgs,
  ) {
    super(variables);
    this.#momenta = args.momentum === 0 ? [] : this.remember('momentum_buffer');
  }

  protected override update(gradients: readonly tf.Tensor[], options: OptimizerStep): void {
    const { weightDecay, momentum } = this.args;
    byDecay(this.names, weightDecay, (n, weightDecay) =>
      sgdUpdate(
        pick(this.parameters, n),
        pick(gradients, n),
        { momenta: momentum === 0 ? [] : pick(this.#momenta, n) },
        { ...options, weightDecay, momentum },
      ),
    );
  }
}
