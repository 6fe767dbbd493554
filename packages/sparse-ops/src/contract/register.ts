/**
 * @file How a backend registers its kernels, and what is refused.
 *
 * Backends that stand alone (`@spft/backend-cuda`, `@spft/backend-blas`) import the types of kernels.ts and nothing that runs: they are held to the
 * names and shapes of the contract when they are compiled, free by means of their own what a failing kernel took, and register with tfjs directly.
 * What they registered is looked at when they are first used (`checkBackend`).
 */
import { nearestNames } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import type { KernelEntry } from './entry.js';
import { KernelContractError } from './errors.js';
import { guarded } from './journal.js';
import { CONTRACT, isKernelName, KERNEL_NAMES, type SpftKernelCall, type SpftKernels } from './kernels.js';

/** What is wrong with kernels `names` of a backend that has `all`, a sentence for each; none where all is well. */
function problemsOf(names: readonly string[], all: ReadonlySet<string>): string[] {
  return names.flatMap((name) => {
    if (!isKernelName(name)) {
      return [
        `no op calls a kernel '${name}'; the nearest name of the contract is '${nearestNames(name, KERNEL_NAMES, 1)[0]}'`,
      ];
    }
    const { needs = [] }: KernelEntry = CONTRACT[name];
    const missing = needs.filter((other) => !all.has(other));
    if (missing.length === 0) return [];
    return [`'${name}' is never called without '${missing.join("' and '")}'; register both or neither`];
  });
}

const ownNames = (backendName: string): string[] =>
  tf.getKernelsForBackend(backendName).flatMap(({ kernelName }) => (kernelName.startsWith('Spft') ? [kernelName] : []));

/**
 * Registers kernels of ops for a tfjs backend, in the place of those that are registered under the same names; all or none.
 *
 * A kernel that throws gives back what it took of the backend's memory by `write`, `incRef` and whatever is built on them.
 * @param backendName as `tf.registerBackend` has it; the backend may be registered later.
 * @param kernels by name: `{ … } satisfies Partial<SpftKernels<MyBackend>>`. Each makes its outputs, which belong to the caller, and leaves its
 * inputs as they are.
 * @throws KernelContractError for a name that is not in the contract, and for a kernel that is never called without another that is missing.
 */
export function registerSpftKernels<Backend = tf.KernelBackend>(
  backendName: string,
  kernels: Partial<SpftKernels<Backend>>,
): void {
  const given = Object.entries(kernels);
  const bad = given.find(([, run]) => typeof run !== 'function');
  if (bad)
    throw new TypeError(`registerSpftKernels: the kernel '${bad[0]}' of backend '${backendName}' is no function`);
  const names = given.map(([name]) => name);
  const problems = problemsOf(names, new Set([...ownNames(backendName), ...names]));
  if (problems.length > 0) throw new KernelContractError(`kernels of backend '${backendName}': ${problems.join('; ')}`);
  for (const [kernelName, run] of given) {
    if (tf.getKernel(kernelName, backendName)) tf.unregisterKernel(kernelName, backendName);
    tf.registerKernel({ kernelName, backendName, kernelFunc: kernelFuncOf(run as AnyKernel) });
  }
}

type AnyKernel = (call: SpftKernelCall<never, unknown>) => tf.TensorInfo | tf.TensorInfo[];

/** tfjs's kernel of one of the contract's. */
const kernelFuncOf = (run: AnyKernel): tf.KernelFunc =>
  guarded(({ inputs, attrs, backend }) =>
    run({ backend, inputs, attributes: attrs } as SpftKernelCall<never, unknown>),
  );

/**
 * Says on the console what a backend has registered that no op will call: a newer backend than these ops, or a mistake.
 * @returns what it said.
 */
export function checkBackend(backendName: string): string[] {
  const names = ownNames(backendName);
  const problems = problemsOf(names, new Set(names));
  for (const problem of problems) console.warn(`@spft/sparse-ops: kernels of backend '${backendName}': ${problem}`);
  return problems;
}
