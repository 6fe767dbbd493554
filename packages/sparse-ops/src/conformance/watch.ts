/**
 * @file Stands between the ops and a backend's kernels while a case runs: holds each call to the contract, poisons the memory that outputs will
 * get, and lets allocations fail, one after the other, before the kernel may run through.
 */
import * as tf from '@tensorflow/tfjs';
import { type KernelEntry, readSlot, type Slot } from '../contract/entry.js';
import { CONTRACT, isKernelName, type KernelName } from '../contract/kernels.js';

/** How the suite reaches into a backend. */
export interface BackendHooks {
  /** Makes the `nth` allocation from now on fail. @returns ends that, and says whether it came to so many. */
  failAllocation(nth: number): () => boolean;
  /** Fills memory of so many bytes that the backend may give out next with NaN. */
  poison(bytes: number): void;
  /** Copies a tensor on the device, where it cannot be read at once: inputs are then compared when all of a case has run. */
  copy?(info: tf.TensorInfo): tf.TensorInfo;
}

/** Allocations that a kernel makes at most, so that a kernel which never succeeds ends. */
const MOST_ALLOCATIONS = 500;

type Infos = Record<string, tf.TensorInfo>;

const sizeOf = (shape: readonly number[]) => shape.reduce((product, n) => product * n, 1);

/** The slot of an input or output by its name; `p3` is of `p#`. */
function slotOf(slots: readonly Slot[], name: string): Slot | undefined {
  return slots.find((slot) =>
    slot.kind === 'list'
      ? name.startsWith(slot.name) && /^\d+$/.test(name.slice(slot.name.length))
      : slot.name === name,
  );
}

/** Numbers of the words of shapes, as far as they are known. */
class Sizes {
  readonly #known = new Map<string, number>();

  constructor(attributes: object) {
    for (const [name, value] of Object.entries(attributes)) if (typeof value === 'number') this.#known.set(name, value);
  }

  /** @throws Error where the tensor is not as its slot says. */
  check(about: string, { shape, dtype }: Slot, info: tf.TensorInfo): void {
    if (info.dtype !== dtype) throw new Error(`${about} is ${info.dtype}, the contract says ${dtype}`);
    if (shape === null) return;
    const said = `[${shape.join(', ')}]`;
    if (info.shape.length !== shape.length) throw new Error(`${about} is [${info.shape}], the contract says ${said}`);
    shape.forEach((word, axis) => {
      if (word === '…') return;
      const size = /^\d+$/.test(word) ? Number(word) : (this.#known.get(word) ?? info.shape[axis]!);
      this.#known.set(word, size);
      if (size !== info.shape[axis]) {
        throw new Error(`${about} is [${info.shape}], the contract says ${said}, and ${word} is ${size}`);
      }
    });
  }
}

/** What a tensor holds at a moment: its values, or a copy to be read later. */
type Snapshot = ArrayLike<number> | tf.TensorInfo;

const isCopy = (snapshot: Snapshot): snapshot is tf.TensorInfo => 'dataId' in snapshot;

const same = (before: ArrayLike<number>, now: ArrayLike<number>): boolean =>
  Array.from(before).every((value, i) => Object.is(value, now[i]));

/** Two moments of an input to be compared, and what is said where they differ. */
interface Pending {
  readonly before: Snapshot;
  readonly now: Snapshot;
  readonly said: string;
}

export class KernelWatch {
  /** Kernels that were called. */
  readonly called = new Set<KernelName>();
  /** Whether allocations fail before a kernel may run through. */
  failing = false;
  readonly #originals = new Map<KernelName, tf.KernelFunc>();
  /** Bytes of the outputs of each kernel, when it was last called. */
  readonly #bytes = new Map<KernelName, readonly number[]>();
  #pending: Pending[] = [];
  #copies: tf.TensorInfo[] = [];

  constructor(
    private readonly backendName: string,
    private readonly hooks: BackendHooks,
  ) {}

  /** Runs `f` with the kernels watched. */
  around<T>(f: () => T): T {
    for (const config of tf.getKernelsForBackend(this.backendName)) {
      const { kernelName, kernelFunc } = config;
      if (!isKernelName(kernelName)) continue;
      this.#originals.set(kernelName, kernelFunc);
      (config as { kernelFunc: tf.KernelFunc }).kernelFunc = (params) => this.#call(kernelName, kernelFunc, params);
    }
    try {
      return f();
    } finally {
      for (const config of tf.getKernelsForBackend(this.backendName)) {
        const original = this.#originals.get(config.kernelName as KernelName);
        if (original) (config as { kernelFunc: tf.KernelFunc }).kernelFunc = original;
      }
      this.#originals.clear();
    }
  }

  /** Compares what could not be read at once. @throws Error where a kernel changed an input. */
  async settle(): Promise<void> {
    const backend = tf.findBackend(this.backendName);
    const read = async (snapshot: Snapshot) =>
      isCopy(snapshot) ? ((await backend.read(snapshot.dataId)) as ArrayLike<number>) : snapshot;
    for (const { before, now, said } of this.#pending)
      if (!same(await read(before), await read(now))) throw new Error(said);
  }

  /** Gives back copies that were taken. */
  forget(): void {
    for (const { dataId } of this.#copies) tf.findBackend(this.backendName).disposeData(dataId);
    this.#copies = [];
    this.#pending = [];
  }

  #snapshot(backend: tf.KernelBackend, info: tf.TensorInfo): Snapshot {
    const { copy } = this.hooks;
    if (!copy) return Array.from(backend.readSync(info.dataId) as ArrayLike<number>);
    const made = copy(info);
    this.#copies.push(made);
    return made;
  }

  #call(name: KernelName, kernelFunc: tf.KernelFunc, params: Parameters<tf.KernelFunc>[0]) {
    this.called.add(name);
    const backend = params.backend as tf.KernelBackend;
    const inputs = params.inputs as Infos;
    const { updates = [] }: KernelEntry = CONTRACT[name];
    const sizes = this.#checkInputs(name, inputs, params.attrs ?? {});
    const kept = Object.keys(inputs).filter((input) => !updates.some((role) => input.startsWith(role)));
    const before = kept.map((input) => this.#snapshot(backend, inputs[input]!));
    const unchanged = (when: string) => {
      kept.forEach((input, n) => {
        const pending = {
          before: before[n]!,
          now: this.#snapshot(backend, inputs[input]!),
          said: `${name}: ${input} ${when}`,
        };
        if (isCopy(pending.now)) this.#pending.push(pending);
        else if (!same(pending.before as ArrayLike<number>, pending.now)) throw new Error(pending.said);
      });
    };
    const made = this.failing
      ? this.#failing(name, kernelFunc, params, () => unchanged('was changed by a call that failed'))
      : this.#poisoned(name, kernelFunc, params);
    unchanged('was changed');
    const outputs = Array.isArray(made) ? made : [made];
    this.#bytes.set(
      name,
      outputs.map(({ shape }) => 4 * sizeOf(shape)),
    );
    this.#checkOutputs(name, inputs, outputs, sizes);
    return made;
  }

  #poisoned(name: KernelName, kernelFunc: tf.KernelFunc, params: Parameters<tf.KernelFunc>[0]) {
    for (const bytes of this.#bytes.get(name) ?? []) this.hooks.poison(bytes);
    return kernelFunc(params);
  }

  /** Runs the kernel with its first allocation failing, its second, and so on; the result is that of the run in which none did. */
  #failing(name: KernelName, kernelFunc: tf.KernelFunc, params: Parameters<tf.KernelFunc>[0], after: () => void) {
    const backend = params.backend as tf.KernelBackend & { numDataIds(): number };
    const inputs = Object.values(params.inputs as Infos);
    const state = () => [backend.numDataIds(), ...inputs.map(({ dataId }) => backend.refCount(dataId))].join();
    for (let nth = 1; nth <= MOST_ALLOCATIONS; nth++) {
      const before = state();
      const end = this.hooks.failAllocation(nth);
      let made: tf.TensorInfo | tf.TensorInfo[];
      try {
        made = kernelFunc(params);
      } catch (error) {
        if (!end()) throw error;
        if (state() !== before) {
          throw new Error(
            `${name}: allocation ${nth} failed, and left tensors or references: ${before} before, ${state()} after`,
          );
        }
        after();
        continue;
      }
      // The kernel did without that allocation, or made fewer.
      if (!end()) return made;
      for (const { dataId } of [made].flat()) backend.disposeData(dataId);
    }
    throw new Error(`${name}: made more than ${MOST_ALLOCATIONS} allocations`);
  }

  #checkInputs(name: KernelName, inputs: Infos, attributes: object): Sizes {
    const slots = CONTRACT[name].inputs.map(readSlot);
    const sizes = new Sizes(attributes);
    for (const { name: wanted, kind } of slots) {
      if (kind === 'needed' && !inputs[wanted]) throw new Error(`${name}: was called without ${wanted}`);
    }
    for (const [input, info] of Object.entries(inputs)) {
      const slot = slotOf(slots, input);
      if (!slot) throw new Error(`${name}: was called with ${input}, which the contract does not have`);
      sizes.check(`${name}: input ${input}`, slot, info);
    }
    return sizes;
  }

  #checkOutputs(name: KernelName, inputs: Infos, outputs: readonly tf.TensorInfo[], sizes: Sizes): void {
    const entry: KernelEntry = CONTRACT[name];
    const slots = entry.outputs.map(readSlot);
    const fixed = slots.findIndex(({ kind }) => kind === 'list');
    const most = fixed < 0 ? slots.length : Number.POSITIVE_INFINITY;
    const least = slots.filter(({ kind }) => kind === 'needed').length;
    if (outputs.length < least || outputs.length > most) {
      throw new Error(`${name}: gave ${outputs.length} outputs, the contract says ${entry.outputs.join(', ')}`);
    }
    // Which of a list's outputs is which only the op knows, and whether an optional one before others is there.
    const told = slots.some(({ kind }, n) => kind === 'optional' && n < slots.length - 1) ? 0 : fixed;
    outputs.slice(0, told < 0 ? outputs.length : told).forEach((info, n) => {
      sizes.check(`${name}: output ${slots[n]!.name}`, slots[n]!, info);
      if (entry.shares?.[slots[n]!.name]) return;
      const same = Object.entries(inputs).find(([, { dataId }]) => dataId === info.dataId);
      if (same)
        throw new Error(
          `${name}: output ${slots[n]!.name} is its input ${same[0]}, the contract says memory of its own`,
        );
    });
  }
}
