/**
 * @file One call of a kernel: where its tensors are, its outputs, and what it needs only until it returns.
 */
import type {
  KernelAttributesOf,
  KernelInfosOf,
  KernelInputsOf,
  KernelName as SpftKernelName,
} from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs-core';
import { type BlasBackend, type Place, sizeOf } from '../backend.js';
import type { NativeAddress } from '../library/blas.js';
import type { Block } from '../memory/allocator.js';
import type { KernelName } from '../threads/kernels.js';
import { outOfMemory, type Pool } from '../threads/pool.js';

/** Numbers that a thread should have to do at least, so that waking it pays. */
const GRAIN = 2 ** 14;

/** An output that found no room in the shared memory: it is made in scratch and copied out. */
interface Staged {
  readonly values: Float32Array;
  readonly place: Place;
}

export class Call {
  readonly pool: Pool;
  readonly #blocks: Block[] = [];
  readonly #staged = new Map<object, Place>();
  readonly #copyOut: Staged[] = [];
  /** Outputs. */
  readonly #made: tf.TensorInfo[] = [];

  constructor(readonly backend: BlasBackend) {
    this.pool = backend.pool;
  }

  /** Where the tensor, of 4 bytes an element, is in the shared memory until the call ends. */
  at(info: tf.TensorInfo): Place {
    const place = this.backend.place(info) ?? this.#staged.get(info.dataId);
    if (place !== undefined) return place;
    const values = this.backend.values(info);
    const staged = this.scratch(values.length);
    this.backend.heap.f32(staged, values.length).set(new Float32Array(values.buffer, values.byteOffset, values.length));
    this.#staged.set(info.dataId, staged);
    return staged;
  }

  /** Where BLAS finds it; outputs as `at` places them. */
  native(info: tf.TensorInfo): NativeAddress {
    const staged = this.#staged.get(info.dataId);
    return staged === undefined ? this.backend.native(info) : this.pool.native(staged);
  }

  /** A new float32 tensor of garbage. */
  output(shape: readonly number[], dtype: 'float32' | 'int32' = 'float32'): tf.TensorInfo {
    const info = this.backend.output(shape, dtype);
    this.#made.push(info);
    if (this.backend.place(info) === null) {
      const values = this.backend.values(info);
      const place = this.scratch(values.length);
      this.#staged.set(info.dataId, place);
      this.#copyOut.push({ values, place });
    }
    return info;
  }

  /** The values of an input or output, to be read or written here. */
  values(info: tf.TensorInfo): Float32Array {
    const staged = this.#staged.get(info.dataId);
    return staged === undefined ? this.backend.values(info) : this.backend.heap.f32(staged, sizeOf(info.shape));
  }

  /** Room for so many numbers of 4 bytes until the call ends. */
  scratch(numbers: number): Place {
    const block = this.scratchBlock(numbers);
    this.#blocks.push(block);
    return block.address;
  }

  /** Room for so many numbers that the caller gives back to the heap. */
  scratchBlock(numbers: number): Block {
    const block = this.backend.heap.takeScratch(4 * numbers);
    if (block === null) throw outOfMemory(4 * numbers, this.backend.heap.used);
    return block;
  }

  /** A copy of the numbers until the call ends. */
  copy(values: Int32Array): Place {
    const place = this.scratch(values.length);
    this.backend.heap.i32(place, values.length).set(values);
    return place;
  }

  /** Calls a kernel of `from` and `to` for [0, count), in parts on all threads where it is worth it. */
  share(name: KernelName, count: number, numbersEach: number, ...args: number[]): void {
    const parts = Math.min(2 * this.pool.threads, Math.floor((count * numbersEach) / GRAIN));
    if (parts <= 1 || this.pool.threads === 1) {
      if (count > 0) this.pool.kernels[name](0, count, ...args);
      return;
    }
    const step = Math.ceil(count / parts / 4) * 4;
    for (let from = 0; from < count; from += step) {
      this.pool.call(name, from, Math.min(count, from + step), ...args);
      this.pool.endChunk();
    }
    this.pool.run();
  }

  /** A tensor that shares the values of another from its element `first` on. */
  view(info: tf.TensorInfo, shape: readonly number[], first: number): tf.TensorInfo {
    const view = this.backend.view(info, shape, first);
    this.#made.push(view);
    return view;
  }

  /** Gives back an output that the caller of the kernel does not get; views of it stay true. */
  release(info: tf.TensorInfo): void {
    this.#made.splice(this.#made.indexOf(info), 1);
    this.backend.disposeData(info.dataId);
  }

  /**
   * Gives back what the call needed. What it wrote of a job and did not run is no part of the next call's.
   * @param failed whether what it made is of no use.
   */
  end(failed = false): void {
    this.pool.forget();
    if (failed) for (const info of this.#made) this.backend.disposeData(info.dataId);
    else for (const { values, place } of this.#copyOut) values.set(this.backend.heap.f32(place, values.length));
    for (const block of this.#blocks) this.backend.heap.free(block);
  }
}

/** A kernel of the contract of `@spft/sparse-ops`, of which types alone come from there: makes its outputs from its inputs. */
export type BlasKernel<Name extends SpftKernelName> = (
  call: Call,
  inputs: KernelInputsOf<Name>,
  attributes: KernelAttributesOf<Name>,
) => KernelInfosOf<Name>;

/** Runs a kernel. What it made, and what it had written of a job, is given back where it throws. */
export function withCall<T>(backend: unknown, kernel: (call: Call) => T): T {
  const call = new Call(backend as BlasBackend);
  let failed = true;
  try {
    const result = kernel(call);
    failed = false;
    return result;
  } finally {
    call.end(failed);
  }
}

/** tfjs's kernel of one of ours. */
export const kernelFuncOf =
  (kernel: BlasKernel<never>): tf.KernelFunc =>
  ({ inputs, attrs, backend }) =>
    withCall(backend, (call) => kernel(call, inputs as never, attrs as never));
