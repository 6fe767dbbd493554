/**
 * @file How an op finds its kernel.
 *
 * An op is a portable composition of tfjs ops with its own gradient. A backend that has something faster registers a tfjs kernel under the
 * op's kernel name (`tf.registerKernel({ kernelName: 'SpftRmsNorm', backendName: 'cuda', kernelFunc })`), and the op runs that instead. Ops
 * and their gradients have separate kernel names, so a backend may speed up one and leave the other.
 */
import * as tf from '@tensorflow/tfjs';
import { shareClones } from './wasm-identity.js';

export type KernelInputs = Record<string, tf.Tensor>;
export type KernelAttributes = Record<string, unknown>;

let kernelsAllowed = true;

/** Whether backends' kernels are used from now on; returns whether they were. */
export function allowKernels(allowed: boolean): boolean {
  const before = kernelsAllowed;
  kernelsAllowed = allowed;
  return before;
}

/** Runs `f` as if no backend had kernels of its own for our ops: to test and to time the compositions. */
export function withoutKernels<T>(f: () => T): T {
  const before = allowKernels(false);
  try {
    return f();
  } finally {
    allowKernels(before);
  }
}

/** Whether the active backend has a kernel of its own for this name, to be used now. */
export function hasKernel(kernelName: string): boolean {
  return kernelsAllowed && tf.getKernel(kernelName, tf.getBackend()) !== undefined;
}

/**
 * Runs the active backend's kernel `kernelName`, or the composition where there is none. Call it inside `tf.customGrad`: neither way is
 * recorded on the tape. The outputs belong to the caller; intermediate tensors of the composition are disposed.
 */
export function runOp<T extends tf.Tensor | tf.Tensor[]>(
  kernelName: string,
  inputs: KernelInputs,
  attributes: KernelAttributes,
  composition: () => T,
): T {
  shareClones();
  if (!hasKernel(kernelName)) {
    return tf.tidy(composition);
  }
  return tf.engine().runKernel(kernelName, inputs as never, attributes as never) as unknown as T;
}
