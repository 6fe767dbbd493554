/** @file Bytes between host and device, and what a recorded step allows of that; host arrays that a step's layers share. */
import type * as tf from '@tensorflow/tfjs';
import type { Block } from '../device/block.js';
import type { Device } from '../device/device.js';
import type { Memory } from '../device/memory.js';
import { Staging } from '../device/staging.js';

/** Host arrays that `constant` remembers: more than one op wants at a time. */
const MOST_CONSTANTS = 16;

export class Transfers {
  readonly staging: Staging;
  readonly #device: Device;
  readonly #memory: Memory;
  readonly #constants = new Map<Int32Array | Float32Array, Block>();

  constructor(device: Device, memory: Memory) {
    this.#device = device;
    this.#memory = memory;
    this.staging = new Staging(device);
  }

  /** `CudaBackend.constant`. */
  constant(values: Int32Array | Float32Array): number {
    const input = this.#device.recording?.inputs.get(values);
    if (input) return input.address;
    this.#device.recording?.refuse(
      `an array of ${values.length} numbers came from the host and is no input of the step`,
    );
    const known = this.#constants.get(values);
    if (known) {
      this.#constants.delete(values);
      this.#constants.set(values, known);
      return known.address;
    }
    if (this.#constants.size >= MOST_CONSTANTS) {
      const [oldest, block] = this.#constants.entries().next().value!;
      this.#constants.delete(oldest);
      this.#memory.release(block);
    }
    const block = this.#memory.filled(values.byteLength, 'layouts', (address) => this.staging.upload(values, address));
    this.#constants.set(values, block);
    return block.address;
  }

  /** Copies the bytes of `values` to memory that a kernel holds. */
  uploadTo(address: number, values: ArrayBufferView): void {
    const { recording } = this.#device;
    if (!recording) {
      this.staging.upload(values, address);
      return;
    }
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const from = recording.fix(bytes);
    if (recording.capturing) this.copy(from, address, bytes.byteLength);
    else {
      recording.log.note('copy', [bytes.byteLength]);
      this.staging.upload(values, address);
    }
  }

  /** Copies device memory to the bytes of `values`, waiting for all work before. Not inside a step. */
  readFrom(address: number, values: ArrayBufferView): void {
    this.#device.recording?.refuse('device memory was read by the host');
    this.staging.download(address, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  copy(from: number, to: number, bytes: number): void {
    if (bytes === 0) return;
    this.#device.recording?.log.note('copy', [bytes]);
    this.#device.call('cuMemcpyDtoDAsync_v2', to, from, bytes, this.#device.stream);
  }

  clear(address: number, bytes: number): void {
    if (bytes === 0) return;
    this.#device.recording?.log.note('clear', [bytes]);
    this.#device.call('cuMemsetD8Async', address, 0, bytes, this.#device.stream);
  }

  /** The input of a recorded step that an array of the host is; where a step is recorded and it is none, the step is not. */
  inputOf(values: tf.BackendValues, elements: number): Block | null {
    const { recording } = this.#device;
    const input = recording?.inputs.get(values as Float32Array);
    if (!input && elements > 1)
      recording?.refuse(`an array of ${elements} numbers came from the host and is no input of the step`);
    return input ?? null;
  }
}
