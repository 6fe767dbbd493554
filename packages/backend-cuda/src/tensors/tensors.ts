/**
 * @file The tensors of a backend: how they come to be, share memory, get to the device when they are wanted there, and end. What a kernel has taken of them is
 * given back where it throws (journal.ts).
 */
import * as tf from '@tensorflow/tfjs';
import type { Block } from '../device/block.js';
import type { Device } from '../device/device.js';
import type { Memory } from '../device/memory.js';
import { CudaDisposedError } from '../errors.js';
import { Journal } from '../shared/journal.js';
import {
  BYTES,
  bytesOf,
  type Codebook,
  type Gathered,
  type Later,
  type Physical,
  physicalOf,
  TensorData,
  TensorStore,
  typedArray,
} from '../storage.js';
import { DerivedMemory } from './derived.js';
import type { Transfers } from './transfers.js';

export class Tensors {
  readonly store = new TensorStore();
  readonly derived: DerivedMemory;
  /** The kernel that runs, which memory taken meanwhile is put down to. */
  running = 'upload';
  readonly #device: Device;
  readonly #memory: Memory;
  readonly #transfers: Transfers;
  readonly #journal = new Journal();

  constructor(device: Device, memory: Memory, transfers: Transfers) {
    this.#device = device;
    this.#memory = memory;
    this.#transfers = transfers;
    this.derived = new DerivedMemory(device, memory);
  }

  /** `CudaBackend.within`. */
  within<T>(kernelName: string, run: () => T): T {
    const before = this.running;
    this.running = kernelName;
    const from = this.#journal.begin();
    let failed = true;
    try {
      const result = run();
      failed = false;
      return result;
    } finally {
      this.running = before;
      if (failed) this.#journal.rollBack(from, (data) => this.release(data));
      else this.#journal.end(from);
    }
  }

  /** A tensor of what is known of it; owned by the caller. */
  add(shape: readonly number[], data: TensorData): tf.TensorInfo {
    this.#journal.note(data, 1);
    return { dataId: this.store.add(data), shape: [...shape], dtype: data.dtype };
  }

  /** In new memory. */
  make(shape: readonly number[], dtype: tf.DataType, physical: Physical): tf.TensorInfo {
    const elements = tf.util.sizeFromShape([...shape]);
    const block = this.#memory.allocate(elements * BYTES[physical], this.running);
    return this.add(shape, new TensorData(dtype, physical, elements, block, 0));
  }

  /** `CudaBackend.later`. */
  makeLater(shape: readonly number[], dtype: tf.DataType, physical: Physical, later: Later): tf.TensorInfo {
    const data = new TensorData(dtype, physical, tf.util.sizeFromShape([...shape]), null, 0);
    data.later = later;
    return this.add(shape, data);
  }

  /** `CudaBackend.finishLater`. */
  finishLater(info: tf.TensorInfo, later: Later): void {
    this.onDevice(info).later = later;
  }

  /** In a block that there is, `offset` bytes from its begin, as one more user of it. */
  makeIn(
    block: Block,
    offset: number,
    shape: readonly number[],
    dtype: tf.DataType,
    physical: Physical,
  ): tf.TensorInfo {
    block.users++;
    return this.add(shape, new TensorData(dtype, physical, tf.util.sizeFromShape([...shape]), block, offset));
  }

  /** `CudaBackend.view`. */
  view(info: tf.TensorInfo, shape: readonly number[], offset: number, dtype: tf.DataType): tf.TensorInfo {
    const data = this.onDevice(info);
    const { physical, codebook, gathered } = data;
    const made = this.makeIn(data.block!, data.offset + offset * BYTES[physical], shape, dtype, physical);
    const { recording } = this.#device;
    if (recording?.capturing) recording.views.add(this.store.get(made.dataId));
    if (codebook) {
      // Scales of blocks are counted from the first number.
      if (offset !== 0 && physical === 'u4') throw new TypeError('internal: no part of a matrix in four bits is one');
      this.setCodebook(made, codebook);
    }
    if (gathered) this.store.get(made.dataId).gathered = gathered;
    return made;
  }

  /** `CudaBackend.upload`. */
  upload(bytes: Uint8Array, shape: readonly number[], dtype: tf.DataType, physical: Physical): tf.TensorInfo {
    this.#device.recording?.refuse('a stored tensor was uploaded');
    const info = this.make(shape, dtype, physical);
    try {
      const wanted = tf.util.sizeFromShape([...shape]) * BYTES[physical];
      if (bytes.byteLength !== wanted)
        throw new RangeError(`upload: [${shape}] of ${physical} takes ${wanted} bytes, got ${bytes.byteLength}`);
      this.#transfers.staging.upload(bytes, this.store.get(info.dataId).block!.address);
      return info;
    } catch (error) {
      this.release(info.dataId);
      throw error;
    }
  }

  /** `CudaBackend.gatheredTensor`. */
  gathered(shape: readonly number[], like: TensorData, block: Block, gathered: Gathered): tf.TensorInfo {
    const data = new TensorData(like.dtype, like.physical, like.elements, block, 0);
    data.gathered = gathered;
    return this.add(shape, data);
  }

  setCodebook(info: tf.TensorInfo, codebook: Codebook): void {
    codebook.block.users++;
    this.store.get(info.dataId).codebook = codebook;
    this.store.packed++;
  }

  /** As tfjs makes one of values of the host, or of none. */
  write(values: tf.BackendValues | null, shape: number[], dtype: tf.DataType): tf.DataId {
    const data = this.#dataOf(values, shape, dtype, 1);
    this.#journal.note(data, 1);
    return this.store.add(data);
  }

  /** The same of one that was another backend's. */
  adopt(dataId: tf.DataId, values: tf.BackendValues, shape: number[], dtype: tf.DataType, references: number): void {
    this.store.adopt(dataId, this.#dataOf(values, shape, dtype, references));
  }

  #dataOf(values: tf.BackendValues | null, shape: number[], dtype: tf.DataType, references: number): TensorData {
    const elements = tf.util.sizeFromShape(shape);
    if (dtype === 'string') return new TensorData(dtype, 'u8', elements, null, 0, values as Uint8Array[], references);
    const physical = physicalOf(dtype);
    const input = values && this.#transfers.inputOf(values, elements);
    if (input) {
      input.users++;
      return new TensorData(dtype, physical, elements, input, 0, null, references);
    }
    if (values !== null && elements === 1) {
      return new TensorData(dtype, physical, 1, null, 0, [Number(values[0])], references);
    }
    const block = this.#memory.filled(elements * BYTES[physical], this.running, (address) => {
      if (values !== null) this.#transfers.staging.upload(typedArray(values, dtype), address);
    });
    return new TensorData(dtype, physical, elements, block, 0, null, references);
  }

  /** Writes zeros. */
  clear(info: tf.TensorInfo): void {
    const data = this.onDevice(info);
    this.#transfers.clear(data.block!.address + data.offset, bytesOf(data));
  }

  /** What is known of a tensor, which is on the device from now on. */
  onDevice(info: tf.TensorInfo): TensorData {
    const data = this.store.get(info.dataId);
    // A tensor that is gone has no block either, so that to look whether it lives costs nothing.
    if (data.block === null) {
      if (!data.alive) throw new CudaDisposedError(this.running, info.shape, info.dtype);
      if (data.dtype === 'string') throw new TypeError('backend cuda: strings cannot be on the device');
      const { later } = data;
      data.block = this.#memory.filled(data.elements * BYTES[data.physical], this.running, (address) => {
        if (later) {
          later.make(address);
          return;
        }
        // Part of the log: a number that differs from step to step must be an input.
        this.#device.recording?.log.note('number', data.host as number[]);
        this.#transfers.uploadTo(address, typedArray(data.host as number[], data.dtype));
      });
    } else if (data.later) data.later.make(data.block.address + data.offset);
    if (data.later) endLater(data);
    data.gathered?.ensure();
    const { recording } = this.#device;
    const { aside } = data.block;
    if (aside && !aside.joined) recording?.asides.join(aside);
    const lasting = !data.block.arena && (!data.block.whole || data.gathered);
    if (recording?.capturing && lasting && !recording.views.has(data)) recording.touched.set(data, data.block);
    return data;
  }

  /** @throws CudaDisposedError where it is gone. */
  living(dataId: tf.DataId): TensorData {
    const data = this.store.get(dataId);
    if (!data.alive) throw new CudaDisposedError('read', [data.elements], data.dtype);
    return data.later ? this.onDevice({ dataId, shape: [data.elements], dtype: data.dtype }) : data;
  }

  /** One reference more. */
  hold(dataId: tf.DataId): void {
    const data = this.store.get(dataId);
    this.#journal.note(data, 1);
    data.references++;
  }

  /** One reference less. @param force it ends whatever refers to it. @returns whether it is gone. */
  release(dataId: tf.DataId, force = false): boolean {
    if (!this.store.has(dataId)) return true;
    const data = this.store.get(dataId);
    this.#journal.note(data, -1);
    data.references--;
    if (!force && data.references > 0) return false;
    this.store.delete(dataId);
    if (data.block) this.#memory.release(data.block);
    if (data.later) endLater(data);
    this.derived.release(data);
    if (data.codebook) this.#memory.release(data.codebook.block);
    // Nobody finds freed memory through it.
    data.block = null;
    data.codebook = null;
    return true;
  }
}

/** What a tensor is made of is wanted no more. */
function endLater(data: TensorData): void {
  const { later } = data;
  data.later = null;
  later!.end();
}
