/**
 * @file All that is used of tfjs's engine beyond its typings, and what is replaced of its backends: the one place to look at when tfjs changes, with
 * tfjs-kernels.ts, which runs kernels. tfjs-internals.test.ts holds each of them to what is expected here, and names the versions for which it did.
 */
import * as tf from '@tensorflow/tfjs';

/** What is used of `tf.engine()`. */
interface Engine {
  addTapeNode(
    name: string,
    inputs: Readonly<Record<string, tf.Tensor>>,
    outputs: readonly tf.Tensor[],
    gradient: (dys: tf.Tensor | tf.Tensor[], saved: tf.Tensor[]) => Record<string, () => tf.Tensor>,
    saved: readonly tf.Tensor[],
    attributes: object,
  ): void;
  gradients(
    f: () => tf.Tensor,
    xs: tf.Tensor[],
    dy: tf.Tensor,
    allowNoGradients: boolean,
  ): { readonly grads: readonly (tf.Tensor | undefined)[] };
  runKernel(kernelName: string, inputs: object, attributes: object): tf.Tensor | tf.Tensor[];
  makeTensorFromTensorInfo(info: tf.TensorInfo): tf.Tensor;
  startTape(): void;
  endTape(): void;
  readonly backend: ReferenceCounting;
  readonly backendName: string;
  readonly state: {
    readonly gradientDepth: number;
    readonly profiling: boolean;
    /** By dataId. */
    readonly tensorInfo: { get(dataId: object): { readonly backend: object } | undefined };
    /** `tf.tidy`s that are under way. */
    readonly scopeStack: readonly { readonly id: number }[];
    kernelDepth: number;
    activeTape: readonly TapeNode[] | null;
  };
}

/** An op on the tape. */
export interface TapeNode {
  readonly kernelName: string;
  readonly inputs: Readonly<Record<string, tf.Tensor>>;
  readonly outputs: readonly tf.Tensor[];
  readonly saved?: readonly tf.Tensor[] | null;
  /** @param dys null for outputs that nothing depends on. */
  readonly gradient?: (dys: (tf.Tensor | null)[]) => Readonly<Record<string, () => tf.Tensor>>;
}

export const engine = (): Engine => tf.engine() as unknown as Engine;

/**
 * Puts an op on the tape: tfjs does so for its own kernels, and for `tf.customGrad` with one output alone.
 * @param gradient of the gradients of the outputs, given alone where there is one output, and of what was saved; for each input by name.
 * @param saved belong to the tape from now on.
 */
export const addTapeNode: Engine['addTapeNode'] = (...args) => engine().addTapeNode(...args);

/** Runs `f` off the tape: tfjs records at kernel depth 0 alone, which is how its own kernels keep their inner ops from it. */
export function offTape<T>(f: () => T): T {
  const { state } = engine();
  state.kernelDepth++;
  try {
    return f();
  } finally {
    state.kernelDepth--;
  }
}

/** Whether `offTape`, or a kernel of tfjs, is under way. */
export const isOffTape = (): boolean => engine().state.kernelDepth > 0;

/** Whether a gradient is being taken of what takes a gradient: then a node of the tape is asked more than once. */
export const isInnerGradient = (): boolean => engine().state.gradientDepth > 0;

/**
 * How many ops of the tape have a tensor as an input, by its id. The copies that tfjs saves for a gradient are on the tape too, though nothing is
 * computed from them: they do not count.
 */
export function tapeUses(): Map<number, number> {
  const tape = engine().state.activeTape ?? [];
  const read = new Set(tape.flatMap(({ inputs }) => Object.values(inputs).map(({ id }) => id)));
  const uses = new Map<number, number>();
  for (const { inputs, outputs } of tape) {
    const all = Object.values(inputs);
    const isCopy = all.length === 1 && tf.util.arraysEqual(all[0]!.shape, outputs[0]!.shape);
    if (isCopy && !outputs.some(({ id }) => read.has(id))) continue;
    for (const { id } of all) uses.set(id, (uses.get(id) ?? 0) + 1);
  }
  return uses;
}

/** Gives back what the tape keeps for a backward pass that will not come, as after an error: tfjs keeps it. Nothing within a gradient. */
export function forgetTape(): void {
  const { state } = engine();
  if (state.gradientDepth > 0 || !state.activeTape) return;
  for (const { saved } of state.activeTape) {
    for (const tensor of saved ?? []) if (!tensor.isDisposed) tensor.dispose();
  }
  state.activeTape = null;
}

/**
 * d f/d xs for an upstream gradient, on a tape of its own. tfjs's engine has one tape, which a backward pass in progress still needs and a second
 * `tf.grads` would replace and drop; so it is put aside for the while.
 * @returns a gradient for each of `xs`, null for one that f does not depend on; owned by the caller. Where it fails nothing of it is left.
 */
export function gradientsOnOwnTape(f: () => tf.Tensor, xs: tf.Tensor[], dy: tf.Tensor): (tf.Tensor | null)[] {
  const { state } = engine();
  const { activeTape } = state;
  ownTapes++;
  try {
    return engine()
      .gradients(f, xs, dy, true)
      .grads.map((gradient) => gradient ?? null);
  } catch (error) {
    forgetTape();
    throw error;
  } finally {
    ownTapes--;
    state.activeTape = activeTape;
  }
}

/**
 * Whether a tensor ends with a `tf.tidy` that is under way, as one does that a function has made on the way to its result. A gradient is taken after the
 * function's scope has ended.
 */
export function endsWithScope(tensor: tf.Tensor): boolean {
  const { kept, scopeId } = tensor as unknown as { readonly kept: boolean; readonly scopeId?: number };
  // Variables are of no scope.
  if (kept || scopeId === undefined) return false;
  for (const { id } of engine().state.scopeStack) if (id === scopeId) return true;
  return false;
}

let ownTapes = 0;

/** Whether `gradientsOnOwnTape` is under way, whose gradients are parts of those of the tape that is put aside. */
export const isOnOwnTape = (): boolean => ownTapes > 0;

/** What is used of a backend here. */
interface ReferenceCounting {
  incRef(dataId: object): void;
  disposeData(dataId: object): boolean;
}

/** Runs `f` on a new tape. @returns what it gave, and the tape, which lies with the engine until `forgetTape`. Not within a gradient. */
export function recordedOnTape<T extends tf.Tensor>(f: () => T): { readonly y: T; readonly tape: readonly TapeNode[] } {
  const the = engine();
  the.startTape();
  let y: T;
  try {
    y = tf.tidy('forward', f);
  } finally {
    the.endTape();
  }
  return { y, tape: the.state.activeTape! };
}

/**
 * Makes a clone on tfjs's wasm backend share its memory, as it does on every other backend.
 *
 * tfjs clones each tensor that is kept for a gradient. The wasm backend's Identity kernel copies: a second set of activations, and 0.1 to 0.2 ms for
 * each of 600×256. Tensors are immutable and the backend counts references already (its Reshape shares), so a clone can share. tfjs also takes
 * the copy that `save` makes inside `tf.customGrad` for a leak of the kernel when its flag IS_TEST is set.
 */
export function shareClonesOnWasm(): void {
  const kernel = { kernelName: tf.Identity, backendName: 'wasm' };
  if (tf.getKernel(tf.Identity, 'wasm')) tf.unregisterKernel(tf.Identity, 'wasm');
  tf.registerKernel({
    ...kernel,
    kernelFunc: ({ inputs, backend }) => {
      const { dataId, shape, dtype } = inputs.x as tf.TensorInfo;
      (backend as ReferenceCounting).incRef(dataId);
      return { dataId, shape, dtype };
    },
  });
}

/** Corrects what `tf.memory()` counts by so many bytes: tfjs counts four for each number of a float32 tensor, whatever holds them. */
export function correctBytes(bytes: number): void {
  tf.engine().state.numBytes += bytes;
}
