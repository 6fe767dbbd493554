/**
 * @file The backend: tfjs's cpu backend with float32 and int32 tensors in the shared memory (memory/heap.ts), where BLAS and SIMD kernels reach
 * them.
 *
 * What our kernels make lies there from the start; what tfjs's cpu kernels or a user make is an ordinary typed array until one of our kernels
 * wants it. Every kernel of the cpu backend works on either, as both are typed arrays to it. When the memory is full, tensors stay ordinary
 * arrays, which BLAS reads as well, and which shared/call.ts stages for SIMD kernels.
 */
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import type * as tf from '@tensorflow/tfjs-core';
import type { Blas, NativeAddress } from './library/blas.js';
import type { Block } from './memory/allocator.js';
import { Heap } from './memory/heap.js';
import { POOL_BYTES, Pool } from './threads/pool.js';

/** An address in the shared memory, in bytes. */
export type Place = number;

/** A block of the shared memory, of one tensor or of several that are views of it. */
interface Storage {
  readonly block: Block;
  tensors: number;
}

/** What the cpu backend keeps of a tensor, and where it lies if in the shared memory. */
interface TensorData {
  values: tf.backend_util.BackendValues;
  dtype: tf.DataType;
  refCount: number;
  storage?: Storage;
  place?: Place;
}

export interface BackendOptions {
  readonly blas: Blas;
  readonly threads: number;
  /** Bytes of tensors in the shared memory at most; for tests. */
  readonly limit?: number;
}

let nextId = 0;

export class BlasBackend extends MathBackendCPU {
  readonly heap: Heap;
  readonly pool: Pool;
  readonly blas: Blas;

  constructor({ blas, threads, limit }: BackendOptions) {
    super();
    this.blas = blas;
    this.heap = new Heap({ reserved: POOL_BYTES, limit });
    const base = blas.addressOf(this.heap.f32(0, 1));
    this.pool = new Pool({ heap: this.heap, blas, threads, base });
  }

  /**
   * As the cpu backend's, without its advice to install another. Some of its kernels (Slice, and what is made of slices) give a part of their input's
   * array as their result: of an array in the shared memory that is copied, as the memory is given to others when the input is disposed.
   */
  override write(values: tf.backend_util.BackendValues, _shape: number[], dtype: tf.DataType): object {
    const dataId = { id: nextId++ };
    const isOurs = ArrayBuffer.isView(values) && values.buffer instanceof SharedArrayBuffer;
    this.#store.set(dataId, { values: isOurs ? (values as Float32Array).slice() : values, dtype, refCount: 1 });
    return dataId;
  }

  override move(
    dataId: object,
    values: tf.backend_util.BackendValues,
    _shape: number[],
    dtype: tf.DataType,
    refCount: number,
  ): void {
    this.#store.set(dataId, { values, dtype, refCount });
  }

  /** A copy where the tensor lies in the shared memory, as that is given to others when the tensor is disposed. */
  override readSync(dataId: object): tf.backend_util.BackendValues {
    const values = super.readSync(dataId);
    return this.#store.get(dataId).storage ? (values as Float32Array).slice() : values;
  }

  override disposeData(dataId: object, force = false): boolean {
    const storage = this.#store.has(dataId) ? this.#store.get(dataId).storage : undefined;
    const gone = super.disposeData(dataId, force);
    if (gone && storage && --storage.tensors === 0) this.heap.free(storage.block);
    return gone;
  }

  override memory(): { unreliable: boolean; reasons: string[] } {
    return { unreliable: false, reasons: [] };
  }

  override dispose(): void {
    this.pool.dispose();
  }

  /** A float32 or int32 tensor of garbage. */
  output(shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): tf.TensorInfo {
    const length = sizeOf(shape);
    const dataId = { id: nextId++ };
    const block = this.heap.allocate(4 * length);
    if (block === null) {
      const values = dtype === 'int32' ? new Int32Array(length) : new Float32Array(length);
      this.#store.set(dataId, { values, dtype, refCount: 1 });
    } else {
      this.#store.set(dataId, { ...this.#placed(block, length, dtype), dtype, refCount: 1 });
    }
    return { dataId, shape: [...shape], dtype };
  }

  /** A tensor of `shape` that shares the values of another from its element `first` on. */
  view(info: tf.TensorInfo, shape: readonly number[], first: number): tf.TensorInfo {
    const data = this.#numbers(info);
    const length = sizeOf(shape);
    const values = (data.values as Float32Array).subarray(first, first + length);
    const dataId = { id: nextId++ };
    const { dtype, storage, place } = data;
    if (storage) storage.tensors++;
    this.#store.set(dataId, {
      values,
      dtype,
      refCount: 1,
      storage,
      place: place === undefined ? place : place + 4 * first,
    });
    return { dataId, shape: [...shape], dtype: info.dtype };
  }

  /** The values themselves, not a copy. */
  values(info: tf.TensorInfo): Float32Array {
    return this.#numbers(info).values as Float32Array;
  }

  /** Where a tensor lies in the shared memory, where it is moved if there is room; else null. */
  place(info: tf.TensorInfo): Place | null {
    const data = this.#numbers(info);
    if (data.place !== undefined) return data.place;
    const values = data.values as Float32Array | Int32Array;
    const block = this.heap.allocate(values.byteLength);
    if (block === null) return null;
    Object.assign(data, this.#placed(block, values.length, info.dtype));
    (data.values as Float32Array).set(values);
    return block.address;
  }

  /**
   * As `place`, for a weight, which will stay: it is moved only while the memory is less than half full, as the activations of a step need the
   * rest.
   */
  placeLasting(info: tf.TensorInfo): Place | null {
    const { place } = this.#store.get(info.dataId);
    if (place !== undefined) return place;
    return this.heap.used + 4 * sizeOf(info.shape) > this.heap.limit / 2 ? null : this.place(info);
  }

  /** Where BLAS finds a tensor, wherever it lies. */
  native(info: tf.TensorInfo): NativeAddress {
    const { place, values } = this.#numbers(info);
    if (place !== undefined) return this.pool.native(place);
    // An array of up to 64 bytes may lie where the garbage collector moves it, until its buffer is looked at.
    void (values as Float32Array).buffer;
    return this.blas.addressOf(values as Float32Array);
  }

  /** The tensor's data, as numbers of its dtype: some kernels of the cpu backend give others (OneHot floats for int32). */
  #numbers(info: tf.TensorInfo): TensorData {
    const data = this.#store.get(info.dataId);
    const { values } = data;
    if (info.dtype === 'float32' && !(values instanceof Float32Array)) {
      data.values = Float32Array.from(values as Int32Array);
    } else if (info.dtype === 'int32' && !(values instanceof Int32Array)) {
      data.values = Int32Array.from(values as Float32Array);
    }
    return data;
  }

  #placed(block: Block, length: number, dtype: tf.DataType): Pick<TensorData, 'values' | 'storage' | 'place'> {
    const values = dtype === 'int32' ? this.heap.i32(block.address, length) : this.heap.f32(block.address, length);
    return { values, storage: { block, tensors: 1 }, place: block.address };
  }

  get #store(): tf.DataStorage<TensorData> {
    return this.data as unknown as tf.DataStorage<TensorData>;
  }
}

export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const n of shape) size *= n;
  return size;
}
