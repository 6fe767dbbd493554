/** @file What all optimizers have in common: their variables, groups by weight decay, and what they remember between steps. */
import { type StepInputs, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { TrainingArgs } from './training-args.js';

export interface OptimizerStep {
  readonly learningRate: number;
  /** Every gradient is multiplied by it (clipping). */
  readonly gradientScale?: tf.Scalar;
  /** The inputs of a recorded step, with those of `numbers` among them. */
  readonly inputs?: StepInputs;
}

/** Updates the variables that it was made for; owns its moments. */
export interface Optimizer {
  /** `adamw`, `adamw_8bit`, `sgd`, `lion` or `adafactor`: checkpoints of one do not fit the other. */
  readonly name: string;
  /** Steps taken. */
  readonly steps: number;
  /** @param gradients one for each variable, in order; not disposed here. */
  step(gradients: readonly tf.Tensor[], options: OptimizerStep): void;
  /** Whether what varies from step to step is in `numbers`, so that a step may be recorded. */
  readonly records: boolean;
  /** The same without counting the step: what a recorded step does. */
  update(gradients: readonly tf.Tensor[], options: OptimizerStep): void;
  /** What varies from step to step, for the inputs of a recorded one: by name, for the step that comes next. */
  numbers(learningRate: number): StepInputs;
  /** What a checkpoint must hold, by PyTorch's names: `exp_avg.<variable>`, `exp_avg_sq.<variable>`, `momentum_buffer.<variable>`; of 8 bits by bitsandbytes'. */
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
export const UNDECAYED = /bias|layernorm|rmsnorm|(^|[._])norm($|\.)/i;

/** Variables that are updated together. */
export interface Group {
  /** Of its `numbers`. */
  readonly name: string;
  readonly indices: readonly number[];
  readonly weightDecay: number;
}

/** The variables with weight decay and those without, where both exist. */
function groupsByDecay(names: readonly string[], weightDecay: number): Group[] {
  const all = names.map((_, n) => n);
  const decays = (n: number) => weightDecay !== 0 && !UNDECAYED.test(names[n]!);
  return [
    { name: 'decayed', indices: all.filter(decays), weightDecay },
    { name: 'undecayed', indices: all.filter((n) => !decays(n)), weightDecay: 0 },
  ].filter(({ indices }) => indices.length > 0);
}

export const pick = <T>(items: readonly T[], indices: readonly number[]): T[] => indices.map((n) => items[n]!);

export abstract class MomentOptimizer implements Optimizer {
  abstract readonly name: string;
  readonly moments = new Map<string, tf.Variable>();
  protected readonly names: readonly string[];
  protected readonly parameters: readonly tf.Variable[];
  protected readonly groups: readonly Group[];
  #steps = 0;

  constructor(variables: ReadonlyMap<string, tf.Variable>, weightDecay: number) {
    this.names = [...variables.keys()];
    this.parameters = [...variables.values()];
    this.groups = groupsByDecay(this.names, weightDecay);
  }

  get steps(): number {
    return this.#steps;
  }

  step(gradients: readonly tf.Tensor[], options: OptimizerStep): void {
    this.update(gradients, options);
    this.#steps++;
  }

  numbers(learningRate: number): StepInputs {
    return Object.fromEntries(
      this.groups.map((group) => [group.name, Float32Array.from(this.numbersOf(group, learningRate))]),
    );
  }

  resumeAt(steps: number): void {
    this.#steps = steps;
  }

  dispose(): void {
    tf.dispose([...this.moments.values()]);
    this.moments.clear();
  }

  abstract update(gradients: readonly tf.Tensor[], options: OptimizerStep): void;

  readonly records: boolean = true;

  protected abstract numbersOf(group: Group, learningRate: number): readonly number[];

  /** An input of a recorded step, where it is one. */
  protected recorded({ inputs }: OptimizerStep, { name }: Group): { readonly numbers?: Float32Array } {
    const numbers = inputs?.[name];
    return numbers instanceof Float32Array ? { numbers } : {};
  }

  protected rememberAs(kind: string, name: string, shape: readonly number[]): tf.Variable {
    const moment = tf.tidy(() => tf.variable(tf.zeros([...shape]), false));
    this.moments.set(`${kind}.${name}`, moment);
    return moment;
  }

  protected remember(kind: string): tf.Variable[] {
    const moments = zeroMoments(this.parameters);
    moments.forEach((moment, n) => {
      this.moments.set(`${kind}.${this.names[n]}`, moment);
    });
    return moments;
  }
}
