/**
 * @file How an op finds its kernel.
 *
 * An op is a portable composition of tfjs ops with its own gradient. A backend that has something faster registers a kernel under the name that
 * the contract has for it (`registerSpftKernels`), and the op runs that instead. Ops and their gradients have separate kernels, so a backend may
 * speed up one and leave the other, where the contract does not say that they belong together.
 */
import * as tf from '@tensorflow/tfjs';
import type { KernelAttributesOf, KernelInputsOf, KernelName, KernelTensorsOf } from '../contract/kernels.js';
import { CONTRACT } from '../contract/kernels.js';
import { meetBackend } from './meet-backend.js';
import { activeKernel, runKernelOf, runUpdate } from './tfjs-kernels.js';

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
export function hasKernel(kernelName: KernelName): boolean {
  return kernelsAllowed && activeKernel(kernelName) !== undefined;
}

/**
 * Runs the active backend's kernel `kernelName`, which must have one. Call it off the tape (in `tf.customGrad`, `recordOp` or `noGradient`).
 * @param inputs as the contract names them.
 * @returns the kernel's outputs, owned by the caller.
 * @throws Error where there is no such kernel: ask `hasKernel`.
 */
export function runKernel<Name extends KernelName>(
  kernelName: Name,
  inputs: KernelInputsOf<Name, tf.Tensor>,
  attributes: KernelAttributesOf<Name>,
): KernelTensorsOf<Name> {
  const made = runKernelOf(kernelName, inputs, attributes as object);
  // A kernel of one output and others that it may keep may give the one alone.
  const listed = Array.isArray(made) || CONTRACT[kernelName].outputs.length === 1 ? made : [made];
  return listed as KernelTensorsOf<Name>;
}

/** What a composition gives in a kernel's place; ranks are not looked at, as tfjs's ops do not tell them. */
type Composed<Name extends KernelName> = KernelTensorsOf<Name> extends tf.Tensor ? tf.Tensor : tf.Tensor[];

/**
 * Runs the active backend's kernel `kernelName`, or the composition where there is none. Call it off the tape, as `runKernel`: neither way is
 * recorded. The outputs belong to the caller; intermediate tensors of the composition are disposed.
 * @param composition gives what the kernel does, without what a kernel keeps for its gradient.
 */
export function runOp<Name extends KernelName>(
  kernelName: Name,
  inputs: KernelInputsOf<Name, tf.Tensor>,
  attributes: KernelAttributesOf<Name>,
  composition: () => Composed<Name>,
): KernelTensorsOf<Name> {
  meetBackend();
  if (hasKernel(kernelName)) return runKernel(kernelName, inputs, attributes);
  return tf.tidy(composition as () => tf.TensorContainer) as KernelTensorsOf<Name>;
}

/**
 * Runs the active backend's kernel `kernelName`, or the composition where there is none, and assigns what it gives to `variables`, one to each. Call it off the
 * tape. Nothing is left of either.
 */
export function runUpdateOp<Name extends KernelName>(
  kernelName: Name,
  inputs: KernelInputsOf<Name, tf.Tensor>,
  attributes: KernelAttributesOf<Name>,
  composition: () => tf.Tensor[],
  variables: readonly tf.Variable[],
): void {
  meetBackend();
  if (hasKernel(kernelName)) {
    runUpdate(kernelName, inputs, attributes as object, variables);
    return;
  }
  tf.tidy(() => {
    const values = composition();
    variables.forEach((variable, n) => {
      variable.assign(values[n]!);
    });
  });
}
