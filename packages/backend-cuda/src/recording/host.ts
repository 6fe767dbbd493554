/** @file What recorded steps need of the backend. */
import type * as tf from '@tensorflow/tfjs';
import type { Device } from '../device/device.js';
import type { Memory } from '../device/memory.js';
import type { Physical, TensorStore } from '../storage.js';

export interface RecorderHost {
  readonly device: Device;
  readonly memoryPool: Memory;
  readonly data: TensorStore;
  output(shape: readonly number[], dtype?: tf.DataType, physical?: Physical): tf.TensorInfo;
  address(info: tf.TensorInfo): number;
  release(info: tf.TensorInfo): void;
  as(info: tf.TensorInfo, physical: Physical): tf.TensorInfo;
  copy(from: number, to: number, bytes: number): void;
  /** Ends what is under way on other streams, and forgets what lies where for the time being: a recorded step must find all as it does itself. */
  settle(): void;
  /** The same after a capture that was given up: nothing of it was done, and its events are no events. */
  forgetGathers(): void;
  /** Uploads at once, whatever is recorded. */
  uploadInputs(address: number, bytes: Uint8Array): void;
}
