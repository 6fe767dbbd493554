/**
 * @file Kernels of the active backend without what tfjs's engine does around each: it looks a kernel up twice by a text made for it, and makes a handful of
 * closures and objects. A step of a model of 30 layers runs a thousand. Where the engine has something to do, it does it: on the tape, in a profile, with its
 * flags DEBUG and IS_TEST.
 */
import * as tf from '@tensorflow/tfjs';
import { engine } from './tfjs-internals.js';

type Registry = ReadonlyMap<string, tf.KernelConfig>;

/** Every kernel that is registered, by backend and name as one text; tfjs keeps it where all copies of it find it. */
const registry = (globalThis as unknown as { readonly _tfGlobals?: ReadonlyMap<string, Registry> })._tfGlobals?.get(
  'kernelRegistry',
);
/** These texts: to make one for each call, and to look for it, takes longer than a small kernel. */
const registryKeys = new Map<string, Map<string, string>>();

/** The active backend's kernel of a name: `tf.getKernel`, faster. */
export function activeKernel(kernelName: string): tf.KernelConfig | undefined {
  const backendName = engine().backendName ?? tf.getBackend();
  if (!registry) return tf.getKernel(kernelName, backendName);
  let keys = registryKeys.get(backendName);
  if (!keys) {
    keys = new Map();
    registryKeys.set(backendName, keys);
  }
  let key = keys.get(kernelName);
  if (key === undefined) {
    key = `${backendName}_${kernelName}`;
    keys.set(kernelName, key);
  }
  return registry.get(key);
}

/** Whether tfjs looks at each kernel: its time, its memory, or what it leaks. */
const isWatched = (): boolean => engine().state.profiling || tf.env().getBool('DEBUG') || tf.env().getBool('IS_TEST');

/**
 * Runs a kernel of the active backend without what tfjs does around it. @returns what it gave; null where tfjs has to run it itself, as it records the kernel or
 * looks at it, or there is none.
 */
function runDirectly(kernelName: string, inputs: object, attributes: object): tf.TensorInfo | tf.TensorInfo[] | null {
  const { state, backend } = engine();
  const kernel = activeKernel(kernelName);
  if (!kernel || isWatched() || (state.gradientDepth > 0 && state.kernelDepth === 0)) return null;
  state.kernelDepth++;
  try {
    return kernel.kernelFunc({ inputs: inputs as never, attrs: attributes as never, backend });
  } finally {
    state.kernelDepth--;
  }
}

const isTensor = (info: tf.TensorInfo): info is tf.Tensor => (info as tf.Tensor).rank !== undefined;

/** A tensor of what a kernel gave; some give tensors. */
const tensorOf = (info: tf.TensorInfo): tf.Tensor => (isTensor(info) ? info : engine().makeTensorFromTensorInfo(info));

/** `tf.engine().runKernel`, which takes a few microseconds more for a kernel that is not recorded. */
export function runKernelOf(kernelName: string, inputs: object, attributes: object): tf.Tensor | tf.Tensor[] {
  const made = runDirectly(kernelName, inputs, attributes);
  if (made === null) return engine().runKernel(kernelName, inputs, attributes);
  return Array.isArray(made) ? made.map(tensorOf) : tensorOf(made);
}

/**
 * Runs a kernel that gives a new value for each of `variables`, and assigns them. Where the value is the variable's own memory, written over, there is nothing
 * to assign, and no tensor is made for it.
 */
export function runUpdate(
  kernelName: string,
  inputs: object,
  attributes: object,
  variables: readonly tf.Variable[],
): void {
  const made = runDirectly(kernelName, inputs, attributes);
  if (made === null || !Array.isArray(made)) {
    tf.tidy(() => {
      const tensors = made === null ? engine().runKernel(kernelName, inputs, attributes) : tensorOf(made);
      variables.forEach((variable, n) => {
        variable.assign(Array.isArray(tensors) ? tensors[n]! : tensors);
      });
    });
    return;
  }
  const { backend } = engine();
  made.forEach((info, n) => {
    const variable = variables[n]!;
    if (info.dataId === variable.dataId && !isTensor(info)) {
      // Of its two references the kernel's is given back.
      backend.disposeData(info.dataId);
      return;
    }
    const value = tensorOf(info);
    variable.assign(value);
    value.dispose();
  });
}

/** `tf.clone`, a tensor that shares the memory of `x`, owned by the caller; where it is not recorded without the costs of a kernel. */
export function sharing<T extends tf.Tensor>(x: T): T {
  const { backend, state } = engine();
  const { dataId, shape, dtype } = x;
  const isRecorded = state.gradientDepth > 0 && state.kernelDepth === 0;
  // Complex numbers are two tensors; one of another backend has to move.
  const isPlain = dtype !== 'complex64' && state.tensorInfo.get(dataId)?.backend === backend;
  if (isRecorded || !isPlain || isWatched()) return tf.clone(x);
  backend.incRef(dataId);
  return engine().makeTensorFromTensorInfo({ dataId, shape, dtype }) as T;
}
