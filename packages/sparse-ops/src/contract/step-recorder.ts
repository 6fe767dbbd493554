/**
 * @file How a step is done without the host: a backend that can record what a function launches does the same again by one call, for other
 * values of the same shapes. `cuda` does it with graphs, `webgpu` with lists of commands; backends without it have no `recordSteps`.
 *
 * A recorded function is run on the host twice, and never again while it stays valid. So everything that differs from step to step comes to it
 * in arrays: the recorder copies them to the device before each step, and hands the function arrays of its own, always the same, in which a
 * backend knows what lies where. They may be used wherever an op takes a host array (a `PackedLayout`, `tf.tensor1d`), whole.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';

export type StepInputs = Readonly<Record<string, Int32Array | Float32Array>>;

export interface StepRecorderOptions {
  /** Steps that are kept, of those used last; default 8. */
  readonly graphs?: number;
  /** Told once why steps are not recorded, if they cannot be. */
  readonly notify?: (message: string) => void;
}

/** What a recorder has done so far. */
export interface StepRecorderCounts {
  /** Steps by one launch each. */
  readonly replayed: number;
  /** Steps that the host launched call by call. */
  readonly plain: number;
  /** Recordings made, those that were given up again included. */
  readonly recorded: number;
  /** Recordings that live. */
  readonly live: number;
}

export interface StepRecorder {
  /**
   * Does `work`, recorded or by the host: the same bits.
   * @param key names all on which `work` depends but the values of `inputs` and of tensors that live longer: shapes, switches.
   * @param inputs of the same names, types and lengths for the same key; copied.
   * @param work synchronous; changes nothing but tensors that it updates in place (an optimizer's), and nothing on the host. What it makes and
   * does not return it disposes of.
   * @param onDevice values of some of the inputs, by name, as tensors of their dtype and length: taken in place of the arrays', without the host's knowing
   * them (what a step before gave).
   * @param wanted how many of the results are given, the first ones; default all. Of a recorded step the others cost nothing.
   * @returns what `work` returns, so much of it as is wanted; owned by the caller.
   * @throws what `work` throws. Then all is as it was.
   */
  run(
    key: string,
    inputs: StepInputs,
    work: (inputs: StepInputs) => tf.Tensor[],
    onDevice?: Readonly<Record<string, tf.Tensor>>,
    wanted?: number,
  ): tf.Tensor[];
  readonly counts: StepRecorderCounts;
  /**
   * What one more key costs, as so many floating-point operations as the device does meanwhile: its steps that the host launches, and its recording. Whoever
   * chooses the keys weighs it against what fewer keys cost. Absent where it is not known.
   */
  readonly keyFlops?: number;
  /** Gives back all recordings and their memory. */
  dispose(): void;
}

/** What a backend has that can record. */
export interface RecordingBackend {
  /** Null where it is switched off. */
  recordSteps(options?: StepRecorderOptions): StepRecorder | null;
}

/** A recorder of the active backend, owned by the caller; null where it has none. */
export function createStepRecorder(options: StepRecorderOptions = {}): StepRecorder | null {
  assertKnownOptions('createStepRecorder', options, { graphs: true, notify: true });
  const backend = tf.backend() as unknown as Partial<RecordingBackend>;
  return backend.recordSteps?.(options) ?? null;
}
