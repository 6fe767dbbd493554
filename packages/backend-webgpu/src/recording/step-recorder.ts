/// <reference types="@webgpu/types" />
/**
 * @file Steps whose commands are kept and given to the GPU again: sparse-ops' `StepRecorder`. WebGPU has no graphs, so that each step is encoded anew; but
 * nothing else is left of what the host does for one: no ops, no tape, no tensors, no bind groups.
 *
 * A key's first step is watched: the host does it, shaders are compiled, and what is launched is noted. The next is captured, and both must have launched
 * the same. Whatever a recording uses that was there before it is looked at before each launch: a variable that got another buffer means a new one.
 */
import type { StepInputs, StepRecorder, StepRecorderCounts } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { BufferPool } from '../device/buffers.js';
import { Capture } from './capture.js';
import { CaptureError, Observation, type Space } from './observation.js';
import { RecordedStep, type RecorderHost, resultsOf } from './recorded-step.js';
import { Inputs } from './step-inputs.js';

type Work = (inputs: StepInputs) => tf.Tensor[];

/** What a recorder needs of the backend. */
export interface ObservedHost extends RecorderHost {
  readonly isProfiling: boolean;
  readonly pool: BufferPool;
  /** Runs `f` under observation. */
  observe<T>(observation: Observation, f: () => T): T;
  numDataIds(): number;
  /** Gives a buffer that was lent to a tensor to the tensor. */
  adopt(dataId: object): void;
}

interface Slot {
  readonly inputs: Inputs;
  /** How the watched run went. */
  watched: Observation | null;
  step: RecordedStep | null;
  /** Recordings that were given up. */
  failures: number;
}

interface Options {
  readonly graphs?: number;
  readonly notify?: (message: string) => void;
}

/** After so many recordings that were given up a key's steps are done by the host. */
const MOST_FAILURES = 2;

export class WebGPUStepRecorder implements StepRecorder {
  readonly #host: ObservedHost;
  readonly #most: number;
  readonly #notify: (message: string) => void;
  /** By key, the one used last at the end. */
  readonly #slots = new Map<string, Slot>();
  readonly #space: Space = { free: new Map(), all: new Set() };
  readonly #counts = { replayed: 0, plain: 0, recorded: 0 };
  #told = false;

  constructor(host: ObservedHost, { graphs = 8, notify = (message) => console.warn(message) }: Options = {}) {
    if (!(Number.isInteger(graphs) && graphs > 0))
      throw new RangeError(`recordSteps: graphs is ${graphs}, must be a positive whole number`);
    this.#host = host;
    this.#most = graphs;
    this.#notify = notify;
  }

  get counts(): StepRecorderCounts {
    const live = [...this.#slots.values()].filter(({ step }) => step !== null).length;
    return { ...this.#counts, live };
  }

  run(
    key: string,
    given: StepInputs,
    work: Work,
    onDevice: Readonly<Record<string, tf.Tensor>> = {},
    wanted = Number.POSITIVE_INFINITY,
  ): tf.Tensor[] {
    const slot = this.#slot(key, given);
    slot.inputs.set(given, onDevice);
    const made = this.#byHost(slot, work);
    if (made !== null) {
      tf.dispose(made.slice(wanted));
      return made.slice(0, wanted);
    }
    this.#counts.replayed++;
    return slot.step!.launch(this.#host, slot.inputs, wanted);
  }

  /** All results of a step that the host has to launch; null where the slot has a recording that can do it. */
  #byHost(slot: Slot, work: Work): tf.Tensor[] | null {
    if (this.#host.isProfiling) return this.#watch(slot, work);
    // Tensors that were disposed of are no more when what reads them was submitted.
    this.#host.flush();
    if (slot.step && !slot.step.isValid(this.#host)) this.#drop(slot);
    if (!slot.step) {
      if (slot.failures >= MOST_FAILURES || !slot.watched) return this.#watch(slot, work);
      const problem = this.#record(slot, slot.watched, work);
      if (problem !== null) {
        slot.failures++;
        if (slot.failures >= MOST_FAILURES) this.#tell(problem);
        return this.#watch(slot, work);
      }
    }
    return null;
  }

  dispose(): void {
    for (const slot of this.#slots.values()) this.#forget(slot);
    this.#slots.clear();
    for (const buffer of this.#space.all) this.#host.pool.releaseBuffer(buffer);
    this.#space.all.clear();
    this.#space.free.clear();
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
    const made: Slot = { inputs: new Inputs(this.#host.device, given), watched: null, step: null, failures: 0 };
    this.#slots.set(key, made);
    return made;
  }

  #tell(reason: string): void {
    if (this.#told) return;
    this.#told = true;
    this.#notify(`steps are launched one call at a time, not as recorded: ${reason}`);
  }

  /** By the host, noted. */
  #watch(slot: Slot, work: Work): tf.Tensor[] {
    const observation = new Observation(slot.inputs.places);
    slot.inputs.upload(this.#host);
    this.#counts.plain++;
    const outputs = this.#host.observe(observation, () => {
      const made = work(slot.inputs.arrays);
      // The next step's inputs would be written over a result that is one of them.
      return made.map((tensor) => this.#apart(tensor, slot));
    });
    slot.watched = observation;
    return outputs;
  }

  #apart(tensor: tf.Tensor, { inputs }: Slot): tf.Tensor {
    if (![...inputs.places.values()].includes(this.#host.knownBuffer(tensor.dataId)!)) return tensor;
    const copy = tf.add(tensor, 0).asType(tensor.dtype);
    tensor.dispose();
    return copy;
  }

  /** Captures a step into `slot.step`; nothing of it is done yet. @returns why that cannot be, or null. @throws what `work` throws by itself. */
  #record(slot: Slot, watched: Observation, work: Work): string | null {
    const capture = new Capture(slot.inputs.places, this.#space, this.#host.pool);
    const before = this.#host.numDataIds();
    let made: tf.Tensor[] = [];
    try {
      const results = this.#host.observe(capture, () => {
        try {
          made = work(slot.inputs.arrays);
          return resultsOf(this.#host, capture, made);
        } finally {
          tf.dispose(made);
        }
      });
      const left = this.#host.numDataIds() - before;
      if (left > 0) throw new CaptureError(`${left} tensors that it made outlived it`);
      for (const [name, array] of Object.entries(slot.inputs.arrays)) {
        // An optimizer's numbers, say, where its step is composed of ops that the host tells them. Which whole numbers are read depends on the model.
        if (array instanceof Float32Array && array.length > 0 && !capture.read.has(array))
          throw new CaptureError(`its input ${name} is not read on the device`);
      }
      const difference = watched.difference(capture);
      if (difference !== null) throw new CaptureError(`it depends on something that is no input of it: ${difference}`);
      this.#leaveConstants(capture);
      capture.close();
      slot.step = new RecordedStep(this.#host.device, capture, results);
      this.#counts.recorded++;
      return null;
    } catch (error) {
      this.#leaveConstants(capture);
      capture.close();
      capture.forget();
      if (error instanceof CaptureError) return error.message;
      throw error;
    }
  }

  /** Numbers of tensors that were there before, and were on the host until now. */
  #leaveConstants(capture: Capture): void {
    for (const [dataId, buffer] of [...capture.constants]) {
      if (this.#host.knownBuffer(dataId) !== buffer) continue;
      this.#host.adopt(dataId);
      capture.leave(dataId);
    }
  }

  #drop(slot: Slot): void {
    slot.step?.end();
    slot.step = null;
    slot.watched = null;
  }

  #forget(slot: Slot): void {
    this.#drop(slot);
    slot.inputs.end();
  }
}
