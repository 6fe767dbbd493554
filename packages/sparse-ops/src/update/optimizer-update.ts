/**
 * @file One step of an optimizer over all trainable tensors at once, so that a backend can do it with one kernel.
 *
 * Moments belong to the caller: they are what a checkpoint saves. Gradients may be scaled by a tensor (clipping), so that a step reads
 * nothing back. A kernel takes all tensors as inputs `<role><n>` and returns the new values; they replace those of the variables.
 */
import * as tf from '@tensorflow/tfjs';
import type { KernelAttributesOf } from '../contract/kernels.js';
import { namesOf } from '../engine/names.js';
import { runUpdateOp } from '../engine/op.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { adamwOnHost, sgdOnHost } from '../kernels/host/optimizer-update.js';

registerHostKernel('SpftAdamw', adamwOnHost);
registerHostKernel('SpftSgd', sgdOnHost);

interface CommonOptions {
  readonly learningRate: number;
  /** What `adamwNumbers` or `sgdNumbers` say of this step, as an input of a recorded step: a backend that records reads it there. */
  readonly numbers?: Float32Array;
  readonly weightDecay?: number;
  /** Every gradient is multiplied by it first (`clipScale`). */
  readonly gradientScale?: tf.Scalar;
}

export interface AdamwOptions extends CommonOptions {
  /** This step's number, from 1: for the bias correction. */
  readonly step: number;
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
}

export interface SgdOptions extends CommonOptions {
  readonly momentum?: number;
}

/** Running means of the gradients and of their squares, one for each parameter. */
export interface AdamwState {
  readonly firstMoments: readonly tf.Variable[];
  readonly secondMoments: readonly tf.Variable[];
}

/** The running sum of gradients that momentum keeps, one for each parameter; none when momentum is 0. */
export interface SgdState {
  readonly momenta: readonly tf.Variable[];
}

/** Zeros in the shape of each parameter, not trainable; owned by the caller. */
export function zeroMoments(parameters: readonly tf.Variable[]): tf.Variable[] {
  return parameters.map((p) => tf.tidy(() => tf.variable(tf.zerosLike(p), false)));
}

type Role = readonly [role: string, tensors: readonly tf.Tensor[]];

/** Runs an update and hands its outputs, role after role, to the variables of those roles. */
function update<Name extends 'SpftAdamw' | 'SpftSgd'>(
  kernelName: Name,
  inputs: readonly Role[],
  outputs: readonly (readonly tf.Variable[])[],
  gradientScale: tf.Scalar | undefined,
  attributes: KernelAttributesOf<Name>,
  composition: () => tf.Tensor[],
): void {
  const [, parameters] = inputs[0]!;
  for (const [role, tensors] of inputs) {
    if (tensors.length !== parameters.length) {
      throw new RangeError(`${kernelName}: ${tensors.length} tensors '${role}' for ${parameters.length} parameters`);
    }
    tensors.forEach((t, n) => {
      if (!tf.util.arraysEqual(t.shape, parameters[n]!.shape)) {
        throw new RangeError(
          `${kernelName}: '${role}' of parameter ${n} is [${t.shape}], the parameter [${parameters[n]!.shape}]`,
        );
      }
    });
  }
  const named: Record<string, tf.Tensor> = gradientScale ? { gradientScale } : {};
  for (const [role, tensors] of inputs) {
    const names = namesOf(role, tensors.length);
    for (let n = 0; n < tensors.length; n++) named[names[n]!] = tensors[n]!;
  }
  runUpdateOp(kernelName, named as never, attributes, composition, outputs.flat());
}

/** What of AdamW varies from step to step: 1 − learning rate · weight decay, the step's size, the correction of the root. */
export function adamwNumbers(
  options: Pick<AdamwOptions, 'learningRate' | 'weightDecay' | 'step' | 'beta1' | 'beta2'>,
): readonly [decay: number, stepSize: number, rootCorrection: number] {
  const { learningRate, weightDecay = 0, step, beta1 = 0.9, beta2 = 0.999 } = options;
  return [1 - learningRate * weightDecay, learningRate / (1 - beta1 ** step), Math.sqrt(1 - beta2 ** step)];
}

/** What of 'SpftSgd' varies from step to step. */
export const sgdNumbers = ({ learningRate }: Pick<SgdOptions, 'learningRate'>): readonly [learningRate: number] => [
  learningRate,
];

const recorded = ({ numbers }: CommonOptions) => (numbers ? { numbers } : {});

/**
 * AdamW as PyTorch has it (Loshchilov and Hutter 2019, arXiv:1711.05101): the decay is decoupled from the gradient, moments are corrected
 * for their start at zero, epsilon is added outside the root.
 *
 * Assigns new values to parameters and moments; gradients stay the caller's.
 * @throws RangeError when counts or shapes differ or step is below 1.
 */
export function adamwUpdate(
  parameters: readonly tf.Variable[],
  gradients: readonly tf.Tensor[],
  state: AdamwState,
  options: AdamwOptions,
): void {
  const { step, learningRate, weightDecay = 0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, gradientScale } = options;
  if (!(step >= 1)) throw new RangeError(`adamwUpdate: step is ${step}; steps count from 1`);
  const { firstMoments, secondMoments } = state;
  const count = parameters.length;
  const [, stepSize, rootCorrection] = adamwNumbers(options);
  const numbers = { learningRate, weightDecay, beta1, beta2, epsilon, step, stepSize, rootCorrection };
  const attributes = { count, ...numbers, ...recorded(options) };
  const composition = () => {
    const updated = parameters.map((p, n) =>
      tf.tidy(() => {
        const g = gradientScale ? tf.mul(gradients[n]!, gradientScale) : gradients[n]!;
        const m = tf.add(tf.mul(firstMoments[n]!, beta1), tf.mul(g, 1 - beta1));
        const v = tf.add(tf.mul(secondMoments[n]!, beta2), tf.mul(tf.square(g), 1 - beta2));
        const denominator = tf.add(tf.div(tf.sqrt(v), rootCorrection), epsilon);
        const decayed = weightDecay === 0 ? p : tf.mul(p, 1 - learningRate * weightDecay);
        return [tf.sub(decayed, tf.mul(tf.div(m, denominator), stepSize)), m, v] as [tf.Tensor, tf.Tensor, tf.Tensor];
      }),
    );
    return [0, 1, 2].flatMap((output) => updated.map((tensors) => tensors[output]!));
  };
  update(
    'SpftAdamw',
    [
      ['p', parameters],
      ['g', gradients],
      ['m', firstMoments],
      ['v', secondMoments],
    ],
    [parameters, firstMoments, secondMoments],
    gradientScale,
    attributes,
    composition,
  );
}

/**
 * 'SpftSgd' with momentum as PyTorch has it (dampening 0, no Nesterov): weight decay is added to the gradient.
 *
 * Assigns new values to parameters and momenta; gradients stay the caller's.
 * @param state `momenta` is not looked at when momentum is 0.
 * @throws RangeError when counts or shapes differ.
 */
export function sgdUpdate(
  parameters: readonly tf.Variable[],
  gradients: readonly tf.Tensor[],
  state: SgdState,
  options: SgdOptions,
): void {
  const { learningRate, weightDecay = 0, momentum = 0, gradientScale } = options;
  const momenta = momentum === 0 ? [] : state.momenta;
  const count = parameters.length;
  const roles: Role[] = [
    ['p', parameters],
    ['g', gradients],
  ];
  if (momentum !== 0) roles.push(['m', momenta]);
  const composition = () => {
    const steps = parameters.map((p, n) =>
      tf.tidy(() => {
        const scaled = gradientScale ? tf.mul(gradients[n]!, gradientScale) : gradients[n]!;
        const g = weightDecay === 0 ? scaled : tf.add(scaled, tf.mul(p, weightDecay));
        return momentum === 0 ? g : tf.add(tf.mul(momenta[n]!, momentum), g);
      }),
    );
    const moved = parameters.map((p, n) => tf.sub(p, tf.mul(steps[n]!, learningRate)));
    return momentum === 0 ? moved : [...moved, ...steps];
  };
  const attributes = { count, learningRate, weightDecay, momentum, ...recorded(options) };
  update('SpftSgd', roles, [parameters, momenta], gradientScale, attributes, composition);
}
