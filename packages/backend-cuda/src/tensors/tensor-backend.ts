/**
 * @file The half of the backend `cuda` that is tensors: their memory, what is derived from them, ways to and from the host, and what tfjs asks of a backend about them. The
 * other half (backend.ts) is what runs.
 */
import * as tf from '@tensorflow/tfjs';
import { Device } from '../device/device.js';
import type { Dimensions } from '../device/launch.js';
import { type Block, Memory } from '../device/memory.js';
import type { Defines, Kernel } from '../device/modules.js';
import {
  type Codebook,
  dtypeOf,
  type Gathered,
  type Later,
  type Physical,
  physicalOf,
  type TensorData,
  type TensorStore,
} from '../storage.js';
import { convert } from './convert.js';
import { TensorReader } from './reader.js';
import { Tensors } from './tensors.js';
import { Transfers } from './transfers.js';

export abstract class TensorBackend extends tf.KernelBackend {
  readonly device: Device;
  readonly memoryPool: Memory;
  readonly data: TensorStore;
  readonly #transfers: Transfers;
  readonly #reader: TensorReader;
  readonly #tensors: Tensors;

  /** @throws CudaUnavailableError where this machine has no such GPU. */
  constructor(ordinal: number) {
    super();
    this.device = new Device(ordinal);
    this.device.open();
    this.memoryPool = new Memory(this.device);
    this.#transfers = new Transfers(this.device, this.memoryPool);
    this.#reader = new TensorReader(this, this.#transfers.staging);
    this.#tensors = new Tensors(this.device, this.memoryPool, this.#transfers);
    this.data = this.#tensors.store;
  }

  // What unpacking and conversion run by (backend.ts).

  abstract kernel(file: string, entry: string, parameters: string, defines?: Defines): Kernel;

  abstract launch(kernel: Kernel, grid: Dimensions, block: Dimensions, args: readonly number[]): void;

  // What kernels use.

  /** Runs `kernel` of tfjs, so that memory taken in it bears its name, and is given back where it throws. */
  within<T>(kernelName: string, run: () => T): T {
    return this.#tensors.within(kernelName, run);
  }

  /** A new tensor whose elements are still to be written; owned by the caller. */
  output(shape: readonly number[], dtype: tf.DataType = 'float32', physical = physicalOf(dtype)): tf.TensorInfo {
    return this.#tensors.make(shape, dtype, physical);
  }

  /** A new tensor that is made when its values are wanted, if they are. Owned by the caller; `later` from now on by it. */
  later(shape: readonly number[], dtype: tf.DataType, physical: Physical, later: Later): tf.TensorInfo {
    return this.#tensors.makeLater(shape, dtype, physical, later);
  }

  /** Says that a tensor is not what it shall be before `later` was done in its memory, which is done when its values are wanted. */
  finishLater(info: tf.TensorInfo, later: Later): void {
    this.#tensors.finishLater(info, later);
  }

  /** What a tensor is that is still to be made; null of one that there is. */
  recipeOf(info: tf.TensorInfo): object | null {
    return this.data.get(info.dataId).later?.recipe ?? null;
  }

  /** A tensor that shares memory with `info`, from element `offset` on; owned by the caller. */
  view(info: tf.TensorInfo, shape: readonly number[], offset = 0, dtype = info.dtype): tf.TensorInfo {
    return this.#tensors.view(info, shape, offset, dtype);
  }

  /** A tensor that lies in a block, `offset` bytes from its begin, as one more user of it; owned by the caller. */
  tensorIn(block: Block, offset: number, shape: readonly number[], physical: Physical): tf.TensorInfo {
    return this.#tensors.makeIn(block, offset, shape, dtypeOf(physical), physical);
  }

  /** The same tensor once more, in another shape. */
  share(info: tf.TensorInfo, shape: readonly number[] = info.shape): tf.TensorInfo {
    this.#tensors.hold(info.dataId);
    return { dataId: info.dataId, shape: [...shape], dtype: info.dtype };
  }

  /** Gives back a tensor that a kernel made for itself. */
  release(info: tf.TensorInfo): void {
    this.#tensors.release(info.dataId);
  }

  /** Where a tensor is on the device. */
  address(info: tf.TensorInfo): number {
    const data = this.#tensors.onDevice(info);
    return data.block!.address + data.offset;
  }

  physical(info: tf.TensorInfo): Physical {
    return this.data.get(info.dataId).physical;
  }

  /** The value of a tensor of one element that came from the host, or null: read nothing back, pass it by value. */
  hostScalar(info: tf.TensorInfo): number | null {
    const { host } = this.data.get(info.dataId);
    return host !== null && typeof host[0] === 'number' ? host[0] : null;
  }

  /** What a tensor in a stored form has beside its codes. */
  codebook(info: tf.TensorInfo): Codebook | null {
    return this.data.get(info.dataId).codebook;
  }

  /** Makes a new tensor of codes one in a stored form; it becomes one more user of the codebook. */
  setCodebook(info: tf.TensorInfo, codebook: Codebook): void {
    this.#tensors.setCodebook(info, codebook);
  }

  /** Whether the tensor is the only one to use its memory, so that a kernel that ends its life may write into it. */
  isSoleUser(info: tf.TensorInfo): boolean {
    const data = this.data.get(info.dataId);
    // What is under way beside it may read it.
    return data.references === 1 && data.block?.users === 1 && !this.device.recording?.asides.any;
  }

  /** `info` in element type `physical`: the same tensor where it has it already. Owned by the caller. */
  as(info: tf.TensorInfo, physical: Physical): tf.TensorInfo {
    if (this.physical(info) === physical) return this.share(info);
    const to = this.output(info.shape, dtypeOf(physical), physical);
    this.convert(info, this.address(to), physical);
    return to;
  }

  /** Writes the elements of `from` to `to`, in element type `physical`. */
  convert(from: tf.TensorInfo, to: number, physical: Physical): void {
    convert(this, from, to, physical);
  }

  /** Memory of `bytes` that holds what is computed from `info` alone, under a name: made once, given back with the tensor (tensors/derived.ts). */
  derived(info: tf.TensorInfo, name: string, bytes: number, make: (address: number) => void): number {
    return this.#tensors.derived.of(this.data.get(info.dataId), name, bytes, this.#tensors.running, make);
  }

  /**
   * Memory in which what is derived from several tensors lies one after the other: each of them keeps its part, as `derived` would.
   * @param sizes numbers of each part. @param size bytes of a number.
   * @returns the address of the first.
   */
  derivedTogether(
    infos: readonly tf.TensorInfo[],
    name: string,
    sizes: readonly number[],
    size: number,
    make: (info: tf.TensorInfo, address: number) => void,
  ): number {
    const { derived, running } = this.#tensors;
    return derived.together(infos, this.data, name, sizes, size, running, make);
  }

  /** Where it is, or 0 where nothing of that name was derived. */
  derivedAddress(info: tf.TensorInfo, name: string): number {
    return this.#tensors.derived.find(this.data.get(info.dataId), name);
  }

  /** Runs `f` with `bytes` of device memory that are given back after it. */
  scratch<T>(bytes: number, f: (address: number) => T): T {
    return this.memoryPool.scratch(bytes, this.#tensors.running, f);
  }

  /** Sets elements [0, size) to zero. */
  clear(info: tf.TensorInfo): void {
    this.#tensors.clear(info);
  }

  copy(from: number, to: number, bytes: number): void {
    this.#transfers.copy(from, to, bytes);
  }

  /** Makes a tensor of stored bytes, e.g. bf16 from a file, without widening them on the host. Owned by the caller. */
  upload(bytes: Uint8Array, shape: readonly number[], dtype: tf.DataType, physical: Physical): tf.TensorInfo {
    return this.#tensors.upload(bytes, shape, dtype, physical);
  }

  /**
   * Address of a host array on the device, which is uploaded once for the last arrays that were asked for: what all layers of a step share. The array must
   * not change. The address is good for a launch that asks for no more than sixteen arrays: to ask for one again makes it the last to go.
   */
  constant(values: Int32Array | Float32Array): number {
    return this.#transfers.constant(values);
  }

  /** Copies the bytes of `values` to memory that a kernel holds. */
  uploadTo(address: number, values: ArrayBufferView): void {
    this.#transfers.uploadTo(address, values);
  }

  /** Uploads at once, whatever is recorded: what a recorded step finds on the device when it is launched. */
  uploadInputs(address: number, bytes: Uint8Array): void {
    this.#transfers.staging.upload(bytes, address);
  }

  /** A tensor in memory that somebody else fills and keeps (sharding/). Owned by the caller. */
  gatheredTensor(shape: readonly number[], like: TensorData, block: Block, gathered: Gathered): tf.TensorInfo {
    return this.#tensors.gathered(shape, like, block, gathered);
  }

  /** Copies device memory to the bytes of `values`, waiting for all work before. Not inside a step. */
  readFrom(address: number, values: ArrayBufferView): void {
    this.#transfers.readFrom(address, values);
  }

  // What tfjs asks of a backend.

  override write(values: tf.BackendValues | null, shape: number[], dtype: tf.DataType): tf.DataId {
    return this.#tensors.write(values, shape, dtype);
  }

  override move(id: tf.DataId, values: tf.BackendValues, shape: number[], dtype: tf.DataType, users: number): void {
    this.#tensors.adopt(id, values, shape, dtype, users);
  }

  /** The tensor may be disposed of meanwhile: what it had at the call is read. */
  override async read(dataId: tf.DataId): Promise<tf.BackendValues> {
    return this.#reader.read(this.#tensors.living(dataId));
  }

  override readSync(dataId: tf.DataId): tf.BackendValues {
    return this.#reader.readSync(this.#tensors.living(dataId));
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    return this.#tensors.release(dataId, force);
  }

  override refCount(dataId: tf.DataId): number {
    return this.data.has(dataId) ? this.data.get(dataId).references : 0;
  }

  override incRef(dataId: tf.DataId): void {
    this.#tensors.hold(dataId);
  }

  override numDataIds(): number {
    return this.data.count;
  }

  override memory(): { unreliable: boolean; numBytesInGPU: number; reasons: string[] } {
    return { unreliable: false, numBytesInGPU: this.memoryPool.bytes, reasons: [] };
  }
}
