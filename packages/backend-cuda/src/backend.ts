/**
 * @file The tfjs backend `cuda`: one class, as tfjs wants it, of what it is made of: tensors (tensors/), launches, products and memory (device/), other ranks
 * (collectives/, sharding/), recorded steps (recording/). Kernels register themselves (`kernels.ts`).
 */
import * as tf from '@tensorflow/tfjs';
import { type Communicator, type ConnectOptions, loadNccl, uniqueId } from './collectives/communicator.js';
import { Ranks } from './collectives/ranks.js';
import type { SumOfTensors } from './collectives/tensor-sums.js';
import { Device } from './device/device.js';
import { Gemm, type Product } from './device/gemm.js';
import { type Dimensions, Launcher } from './device/launch.js';
import { type Block, Memory } from './device/memory.js';
import { type Defines, type Kernel, Modules } from './device/modules.js';
import { type ProfileEntry, profileOf } from './device/profiler.js';
import type { Lane } from './recording/asides.js';
import { CudaStepRecorder } from './recording/step-recorder.js';
import { recordsSteps, weightTypeOf } from './settings.js';
import type { CudaWeightShards } from './sharding/weight-shards.js';
import { storedBytes } from './shared/stored-on-device.js';
import {
  type Codebook,
  dtypeOf,
  type Gathered,
  type Later,
  type Physical,
  physicalOf,
  type TensorData,
  type TensorStore,
} from './storage.js';
import { convert } from './tensors/convert.js';
import { TensorReader } from './tensors/reader.js';
import { Tensors } from './tensors/tensors.js';
import { Transfers } from './tensors/transfers.js';

export const BACKEND_NAME = 'cuda';

export class CudaBackend extends tf.KernelBackend {
  readonly device: Device;
  /** Element type of frozen matrices that come as files: bf16, or float32 by `SPFT_CUDA_PRECISION=float32`. */
  readonly weightType: 'bf16' | 'f32' = weightTypeOf();
  readonly memoryPool: Memory;
  readonly data: TensorStore;
  /**
   * Multiplications that gathered channels of a layer must save, or they are masked instead (spft/project/layers.ts): what an H200 makes in the time
   * of the launches that gathering takes.
   */
  masksBelow = 2 ** 32;
  /** Numbers of a frozen matrix from which on products of few rows read it as it lies (forms/skinny.ts): reading less takes no longer than a launch. */
  skinnyFrom = 2 ** 21;
  /** Multiplications of a frozen product below which what can be made beside it is (spft/project/layers.ts): larger ones fill the GPU. */
  besideBelow = 2 ** 33;
  readonly #modules: Modules;
  readonly #launcher: Launcher;
  readonly #gemm: Gemm;
  readonly #transfers: Transfers;
  readonly #reader: TensorReader;
  readonly #tensors: Tensors;
  readonly #ranks: Ranks;
  readonly #recordsSteps = recordsSteps();

  /** @throws CudaUnavailableError where this machine cannot run it, CudaSettingError for a setting that means nothing. */
  constructor(ordinal = 0) {
    super();
    this.device = new Device(ordinal);
    this.device.open();
    this.memoryPool = new Memory(this.device);
    this.#modules = new Modules(this.device);
    this.#launcher = new Launcher(this.device, this.#modules);
    this.#gemm = new Gemm(this.device, this.memoryPool);
    this.#transfers = new Transfers(this.device, this.memoryPool);
    this.#reader = new TensorReader(this, this.#transfers.staging);
    this.#tensors = new Tensors(this.device, this.memoryPool, this.#transfers);
    this.data = this.#tensors.store;
    this.#ranks = new Ranks(this);
  }

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

  /** Entry point of `cuda/<file>.cu`; its parameters by letter: p address, i int32, f float, l int64. */
  kernel(file: string, entry: string, parameters: string, defines?: Defines): Kernel {
    return this.#modules.kernel(file, entry, parameters, defines);
  }

  /** @param beginsEarly see launch.ts. */
  launch(
    kernel: Kernel,
    grid: Dimensions,
    block: Dimensions,
    args: readonly number[],
    sharedBytes = 0,
    beginsEarly = false,
  ): void {
    this.#launcher.launch(kernel, grid, block, args, sharedBytes, beginsEarly);
  }

  /**
   * Does `work` beside what is launched after it, where a step is recorded; else at once. Memory that it takes is waited for by whoever asks for its address;
   * it writes no other, and reads none that is written in place meanwhile.
   * @param lane what is on the same is done in order.
   */
  beside<T>(lane: Lane, work: () => T): T {
    // Shards of weights are there for a while only: others take their place when this stream is done with them.
    const asides = this.#ranks.shards ? undefined : this.device.recording?.asides;
    return asides ? asides.run(lane, work) : work();
  }

  /** The same for work that writes a part of memory taken before it. @returns what waits for it, to be called before anybody reads that. */
  besideRows(lane: Lane, work: () => void): () => void {
    this.beside(lane, work);
    return () => this.device.recording?.asides.joinLane(lane);
  }

  multiply(product: Product): void {
    this.#gemm.multiply(product);
  }

  /** Makes what products of codes want and no step may make for the first time. */
  expectCodes(): void {
    this.#gemm.expectCodes();
  }

  /** Whether a product of codes can have a scale for each row of activations (gemm.ts). */
  get scalesRows(): boolean {
    return this.#gemm.scalesRows;
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

  /** A recorder of steps, as sparse-ops' `StepRecorder`; null where `SPFT_CUDA_GRAPHS=0` says so. Owned by the caller. */
  recordSteps(options: ConstructorParameters<typeof CudaStepRecorder>[1] = {}): CudaStepRecorder | null {
    return this.#recordsSteps ? new CudaStepRecorder(this, options) : null;
  }

  /** Version and file of the NCCL that `connect` would use. @throws CudaUnavailableError where there is none, or one too old. */
  nccl(): { readonly version: string; readonly path: string } {
    const { version, path } = loadNccl();
    return { version, path };
  }

  /** What one rank makes and the others are given, to `connect` with. */
  ncclId(): Uint8Array {
    return uniqueId();
  }

  /**
   * Connects this process with the others of its run, one to a GPU, by NCCL. Sums and shards are between them from then on.
   * @throws as `Communicator.connect`; Error where they are connected.
   */
  connect(options: ConnectOptions): Promise<Communicator> {
    return this.#ranks.connect(options);
  }

  /** Of `connect`. @throws Error before it. */
  get communicator(): Communicator {
    return this.#ranks.communicator;
  }

  /** Begins to sum float32 tensors over the ranks, beside what is launched next. Takes them over. */
  sumOverRanks(tensors: readonly tf.Tensor[]): SumOfTensors {
    return this.#ranks.sum(tensors);
  }

  /** Frozen matrices of which each rank holds a part: sparse-ops' `WeightShards`. @param buffers layers that are whole at one time. */
  shardWeights({ buffers = 2 }: { readonly buffers?: number } = {}): CudaWeightShards {
    return this.#ranks.shardWeights(buffers);
  }

  settle(): void {
    this.#ranks.shards?.settle();
  }

  forgetGathers(): void {
    this.#ranks.shards?.forget();
  }

  /** A tensor in memory that somebody else fills and keeps (sharding/). Owned by the caller. */
  gatheredTensor(shape: readonly number[], like: TensorData, block: Block, gathered: Gathered): tf.TensorInfo {
    return this.#tensors.gathered(shape, like, block, gathered);
  }

  /** Copies device memory to the bytes of `values`, waiting for all work before. Not inside a step. */
  readFrom(address: number, values: ArrayBufferView): void {
    this.#transfers.readFrom(address, values);
  }

  /** Runs `f` and says where the GPU's time went, by kernel and product. */
  profile(f: () => void): ProfileEntry[] {
    return profileOf(this.device, f);
  }

  /** Kernels and products launched so far. */
  get launches(): { readonly kernels: number; readonly products: number } {
    return { kernels: this.#launcher.launches, products: this.#gemm.calls };
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

  /** Bytes of a frozen tensor of a file's elements, as `SpftStoredTensor` stores it, or of bytes (`U8`); for sparse-ops' `frozenBytes`. */
  frozenBytes(type: 'BF16' | 'F16' | 'F32' | 'U8', shape: readonly number[]): number {
    return storedBytes(this, type, shape);
  }

  override floatPrecision(): 16 | 32 {
    return 32;
  }

  override epsilon(): number {
    return 1e-7;
  }

  override timerAvailable(): boolean {
    return true;
  }

  override async time(f: () => void): Promise<{ kernelMs: number; wallMs?: number }> {
    return { kernelMs: this.device.milliseconds(f) };
  }

  /** Ends it; its tensors are gone. */
  override dispose(): void {
    this.#ranks.abort();
    this.device.close();
  }
}
