/** @file A tensor's values on the host, whatever it is on the device. */
import type * as tf from '@tensorflow/tfjs';
import type { Device } from '../device/device.js';
import type { Memory } from '../device/memory.js';
import type { Arriving, Staging } from '../device/staging.js';
import { type Unpacking, type UnpackingHost, unpackingOf } from '../forms/unpacking.js';
import { bytesOf, heldMemory, type TensorData, typedArray, widen } from '../storage.js';

/** What reading needs of the backend: of tensors in a stored form, which are unpacked for it. */
export interface ReaderHost extends UnpackingHost {
  readonly device: Device;
  readonly memoryPool: Memory;
  scratch<T>(bytes: number, f: (address: number) => T): T;
}

export class TensorReader {
  readonly #host: ReaderHost;
  readonly #staging: Staging;

  constructor(host: ReaderHost, staging: Staging) {
    this.#host = host;
    this.#staging = staging;
  }

  /** What the tensor has now, once the GPU is so far; it may be disposed of meanwhile. */
  async read(of: TensorData): Promise<tf.BackendValues> {
    const { device, memoryPool } = this.#host;
    device.recording?.refuse('a tensor was read by the host');
    const data = heldMemory(of);
    const blocks = [data.block, data.codebook?.block].filter((block) => block !== null && block !== undefined);
    for (const block of blocks) block.users++;
    let arriving: Arriving | null = null;
    try {
      // Those that others may take the place of meanwhile are read at once.
      if (data.gathered) return this.#valuesOf(data);
      // A few bytes are asked for at once, so that what is launched meanwhile is not waited for.
      if (data.host === null && data.block && !data.codebook)
        arriving = this.#staging.ask(data.block.address + data.offset, bytesOf(data));
      await device.settled();
      return this.#valuesOf(data, arriving);
    } catch (error) {
      arriving?.take();
      throw error;
    } finally {
      for (const block of blocks) memoryPool.release(block);
    }
  }

  /** The same, waiting. */
  readSync(data: TensorData): tf.BackendValues {
    if (data.host === null) this.#host.device.recording?.refuse('a tensor was read by the host');
    return this.#valuesOf(data);
  }

  #valuesOf(data: TensorData, arriving: Arriving | null = null): tf.BackendValues {
    data.gathered?.ensure();
    const { host, physical, block, offset, dtype } = data;
    if (dtype === 'string') return host as Uint8Array[];
    if (host !== null) return typedArray(host as number[], dtype);
    const form = unpackingOf(physical);
    if (form) return this.#unpacked(data, form);
    const bytes = arriving?.take() ?? new Uint8Array(bytesOf(data));
    if (!arriving) this.#staging.download(block!.address + offset, bytes);
    switch (physical) {
      case 'bf16':
        return widen(new Uint16Array(bytes.buffer));
      case 'f32':
        return new Float32Array(bytes.buffer);
      case 'i32':
        return new Int32Array(bytes.buffer);
      default:
        return bytes;
    }
  }

  /** The numbers of a tensor in a stored form. */
  #unpacked(data: TensorData, form: Unpacking): Float32Array {
    const values = new Float32Array(data.elements);
    const info = { dataId: data, shape: [data.elements], dtype: data.dtype };
    this.#host.scratch(values.byteLength, (address) => {
      form.unpack(this.#host, info, address, 'f32');
      this.#staging.download(address, new Uint8Array(values.buffer));
    });
    return values;
  }
}
