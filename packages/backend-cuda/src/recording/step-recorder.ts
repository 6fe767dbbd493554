/**
 * @file Steps as CUDA graphs: sparse-ops' `StepRecorder`.
 *
 * A key's first steps are watched: the host does them, products are timed, kernels compiled, and what is allocated and launched is noted. The one after
 * the first in which nothing was new is captured, and both must have launched the same. From then on a step is an upload of its inputs and one launch. Whatever a graph uses that was there
 * before it is held, and looked at before each launch: a variable that got other memory (a checkpoint was loaded) means a new recording.
 */

import * as tf from '@tensorflow/tfjs';
import type { Block } from '../device/memory.js';
import { CudaError, CudaOutOfMemoryError } from '../errors.js';
import { CUDA_ERROR_OUT_OF_MEMORY } from '../libraries/driver.js';
import { Arena, bytesMissing, type Space } from './arena.js';
import { Counters } from './counters.js';
import { capture, type Graph } from './graph.js';
import type { RecorderHost } from './host.js';
import type { LaunchLog } from './launch-log.js';
import { CaptureError, Recording } from './recording.js';
import { Inputs, type StepInputs } from './step-inputs.js';

type Work = (inputs: StepInputs) => tf.Tensor[];

interface Slot {
  readonly inputs: Inputs;
  /** How the watched run went. */
  watched: {
    readonly log: LaunchLog;
    readonly trace: readonly number[];
    readonly fixedBytes: number;
    readonly counterBytes: number;
  } | null;
  graph: Graph | null;
  /** Recordings that were given up. */
  failures: number;
  /** Watched runs in which something was new. */
  news: number;
}

interface Options {
  readonly graphs?: number;
  readonly notify?: (message: string) => void;
}

/** After so many watched runs with something new a step is captured all the same. */
const MOST_NEWS = 2;
/**
 * Seconds that a key costs whose steps are many launches: on the H200's machine the host takes 0.12 to 0.2 for SmolLM2's, for one that it launches and its recording.
 * Half of that, as what a device does meanwhile is a guess.
 */
const KEY_SECONDS = 0.06;
/** Floating-point operations that a multiprocessor does in a second of a training step in bf16: 0.4 PFLOP/s of an H200, 0.13 of an A100. */
const FLOPS_OF_MULTIPROCESSOR = { hopper: 3e12, before: 1.2e12 };
/** Why a step has no graph. */
const NO_ROOM = 'there is no room for their memory beside what is held';
/** After so many recordings that were given up a key's steps are done by the host. */
const MOST_FAILURES = 2;

export class CudaStepRecorder {
  readonly #backend: RecorderHost;
  readonly #most: number;
  readonly #notify: (message: string) => void;
  /** By key, the one used last at the end. */
  readonly #slots = new Map<string, Slot>();
  /** Memory of all graphs. */
  readonly #memory: Block[] = [];
  readonly #counts = { replayed: 0, plain: 0, recorded: 0 };
  #told = false;
  #noRoom = false;

  constructor(backend: RecorderHost, { graphs = 8, notify = (message) => console.warn(message) }: Options = {}) {
    if (!(Number.isInteger(graphs) && graphs > 0))
      throw new RangeError(`recordSteps: graphs is ${graphs}, must be a positive whole number`);
    this.#backend = backend;
    this.#most = graphs;
    this.#notify = notify;
  }

  get counts() {
    const live = [...this.#slots.values()].filter(({ graph }) => graph !== null).length;
    return { ...this.#counts, live };
  }

  /** As `StepRecorder.keyFlops`. */
  get keyFlops(): number {
    const { capability, multiprocessors } = this.#backend.device.info;
    return KEY_SECONDS * multiprocessors * FLOPS_OF_MULTIPROCESSOR[capability[0] >= 9 ? 'hopper' : 'before'];
  }

  /** As `StepRecorder.run`. */
  run(
    key: string,
    given: StepInputs,
    work: Work,
    onDevice: Readonly<Record<string, tf.Tensor>> = {},
    wanted = Number.POSITIVE_INFINITY,
  ): tf.Tensor[] {
    const slot = this.#ready(key, given, onDevice);
    const made = this.#byHost(slot, work);
    if (made !== null) {
      tf.dispose(made.slice(wanted));
      return made.slice(0, wanted);
    }
    this.#counts.replayed++;
    return slot.graph!.launch(this.#backend, slot.inputs, wanted);
  }

  /** The slot, with the values of this step. */
  #ready(key: string, given: StepInputs, onDevice: Readonly<Record<string, tf.Tensor>>): Slot {
    const { device } = this.#backend;
    if (device.recording) throw new Error('internal: a recorded step within another');
    const slot = this.#slot(key, given);
    slot.inputs.set(given, onDevice);
    return slot;
  }

  /** All results of a step that the host has to launch; null where the slot has a graph that can do it. */
  #byHost(slot: Slot, work: Work): tf.Tensor[] | null {
    const { device } = this.#backend;
    if (device.profiler) return this.#plainly(slot, work, 'they are profiled');
    if (slot.graph && !slot.graph.isValid()) this.#drop(slot);
    if (!slot.graph) {
      if (this.#noRoom || slot.failures >= MOST_FAILURES) return this.#plainly(slot, work);
      if (!slot.watched) return this.#watch(slot, work);
      const problem = this.#record(slot, work);
      if (problem !== null) {
        slot.failures++;
        slot.watched = null;
        // What was new to a capture is known by the time of the next.
        return slot.failures < MOST_FAILURES ? this.#watch(slot, work) : this.#plainly(slot, work, problem);
      }
    }
    return null;
  }

  dispose(): void {
    for (const slot of this.#slots.values()) this.#forget(slot);
    this.#slots.clear();
    this.#giveUpMemory();
  }

  #slot(key: string, given: StepInputs): Slot {
    const known = this.#slots.get(key);
    if (known) {
      this.#slots.delete(key);
      this.#slots.set(key, known);
      return known;
    }
    if (this.#slots.size >= this.#most) {
      const [oldest, slot] = this.#slots.entries().next().value!;
      this.#slots.delete(oldest);
      this.#forget(slot);
    }
    const made: Slot = { inputs: new Inputs(this.#backend, given), watched: null, graph: null, failures: 0, news: 0 };
    this.#slots.set(key, made);
    return made;
  }

  /** By the host, said once where it is not wanted. */
  #plainly(slot: Slot, work: Work, reason?: string): tf.Tensor[] {
    if (reason !== undefined && !this.#told) {
      this.#told = true;
      this.#notify(`steps are launched one call at a time, not as a CUDA graph: ${reason}`);
    }
    return this.#observed(slot, work, new Recording(this.#backend.device, slot.inputs.places, null));
  }

  #watch(slot: Slot, work: Work): tf.Tensor[] {
    const recording = new Recording(this.#backend.device, slot.inputs.places, null);
    const outputs = this.#observed(slot, work, recording);
    const trace = recording.trace(outputs.map(({ dataId }) => this.#backend.data.get(dataId).block));
    // What is new in every run is no obstacle by being new: the capture will say what it is.
    if (recording.didAnew && ++slot.news < MOST_NEWS) return outputs;
    slot.watched = {
      log: recording.log,
      trace,
      fixedBytes: recording.fixedBytes,
      counterBytes: recording.counters.used,
    };
    return outputs;
  }

  #observed(slot: Slot, work: Work, recording: Recording): tf.Tensor[] {
    const { device } = this.#backend;
    slot.inputs.upload(this.#backend);
    this.#backend.settle();
    device.recording = recording;
    try {
      this.#counts.plain++;
      const made = work(slot.inputs.arrays);
      // A result that is still to be made is a part of the step.
      for (const tensor of made) if (this.#backend.data.get(tensor.dataId).later) this.#backend.address(tensor);
      recording.asides.joinAll();
      return made;
    } catch (error) {
      if (!(error instanceof CudaOutOfMemoryError) || this.#memory.length === 0) throw error;
    } finally {
      recording.asides.abandon();
      device.recording = null;
      // What a launched graph leaves behind too: whoever does the same on another process may have launched one.
      this.#backend.settle();
    }
    // A step by the host needs memory of its own beside that of the graphs: where there is not enough for both, the graphs go.
    this.#noRoom = true;
    for (const each of this.#slots.values()) this.#drop(each);
    this.#giveUpMemory();
    return this.#plainly(slot, work, NO_ROOM);
  }

  #giveUpMemory(): void {
    for (const block of this.#memory) this.#backend.memoryPool.release(block);
    this.#memory.length = 0;
  }

  /** Captures a step into `slot.graph`. @returns why that cannot be, or null. @throws what `work` throws by itself. */
  #record(slot: Slot, work: Work): string | null {
    const { log, trace, fixedBytes, counterBytes } = slot.watched!;
    const { memoryPool } = this.#backend;
    let fixed: Block | null = null;
    try {
      this.#makeRoom(bytesMissing(trace, this.#spaces()));
      const bytes = fixedBytes + counterBytes;
      fixed = bytes > 0 ? memoryPool.allocate(bytes, 'recorded steps') : null;
      const recording = new Recording(
        this.#backend.device,
        slot.inputs.places,
        new Arena(this.#spaces()),
        fixed?.address,
        fixedBytes,
        new Counters(fixed ? fixed.address + fixedBytes : 0, counterBytes),
      );
      slot.graph = capture(this.#backend, recording, log, fixed, () => work(slot.inputs.arrays));
      this.#counts.recorded++;
      return null;
    } catch (error) {
      if (fixed) memoryPool.release(fixed);
      if ([...this.#slots.values()].every(({ graph }) => graph === null)) this.#giveUpMemory();
      if (error instanceof CaptureError) return error.message;
      if (error instanceof CudaOutOfMemoryError) return NO_ROOM;
      if (error instanceof CudaError && (error.call.startsWith('cuGraph') || error.status === CUDA_ERROR_OUT_OF_MEMORY))
        return error.message;
      throw error;
    }
  }

  #spaces(): Space[] {
    return this.#memory.map(({ address, bytes }) => ({ address, bytes }));
  }

  #makeRoom(bytes: number): void {
    if (bytes > 0) this.#memory.push(this.#backend.memoryPool.allocate(bytes, 'recorded steps'));
  }

  #drop(slot: Slot): void {
    slot.graph?.end(this.#backend);
    slot.graph = null;
    slot.watched = null;
  }

  #forget(slot: Slot): void {
    this.#drop(slot);
    slot.inputs.end(this.#backend);
  }
}
