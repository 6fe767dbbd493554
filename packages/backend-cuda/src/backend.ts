/**
 * @file The tfjs backend `cuda`: where tensors are, and what kernels need to run. Kernels register themselves (`kernels.ts`). As long as it is because tfjs
 * wants a backend to be one class.
 */
import * as tf from '@tensorflow/tfjs';
import { Communicator, type ConnectOptions, loadNccl, uniqueId } from './collectives/communicator.js';
import { type SumOfTensors, sumTensors } from './collectives/tensor-sums.js';
import { Device } from './device/device.js';
import { Gemm, type Product } from './device/gemm.js';
import { type Dimensions, Launcher } from './device/launch.js';
import { type Block, Memory } from './device/memory.js';
import { type Defines, type Kernel, Modules } from './device/modules.js';
import { type ProfileEntry, Profiler } from './device/profiler.js';
import { type Arriving, Staging } from './device/staging.js';
import { CudaDisposedError } from './errors.js';
import { type Unpacking, unpackingOf } from './forms/unpacking.js';
import type { Lane } from './recording/asides.js';
import { CudaStepRecorder } from './recording/step-recorder.js';
import { recordsSteps, weightTypeOf } from './settings.js';
import { CudaWeightShards } from './sharding/weight-shards.js';
import { Journal } from './shared/journal.js';
import { storedTypeOf } from './shared/stored-on-device.js';
import {
  BYTES,
  bytesOf,
  C_TYPE,
  type Codebook,
  dtypeOf,
  type Gathered,
  heldMemory,
  type Physical,
  physicalOf,
  TensorData,
  TensorStore,
  typedArray,
  widen,
} from './storage.js';

export const BACKEND_NAME = 'cuda';

/** Host arrays that `constant` remembers: more than one op wants at a time. */
const MOST_CONSTANTS = 16;

export class CudaBackend extends tf.KernelBackend {
  readonly device: Device;
  /** Element type of frozen matrices that come as files: bf16, or float32 by `SPFT_CUDA_PRECISION=float32`. */
  readonly weightType: 'bf16' | 'f32' = weightTypeOf();
  readonly memoryPool: Memory;
  readonly data = new TensorStore();
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
  readonly #staging: Staging;
  readonly #constants = new Map<Int32Array | Float32Array, Block>();
  readonly #journal = new Journal();
  readonly #recordsSteps = recordsSteps();
  #communicator: Communicator | null = null;
  #shards: CudaWeightShards | null = null;
  /** The kernel that runs, which memory taken meanwhile is put down to. */
  #running = 'upload';

  /** @throws CudaUnavailableError where this machine cannot run it, CudaSettingError for a setting that means nothing. */
  constructor(ordinal = 0) {
    super();
    this.device = new Device(ordinal);
    this.device.open();
    this.memoryPool = new Memory(this.device);
    this.#modules = new Modules(this.device);
    this.#launcher = new Launcher(this.device, this.#modules);
    this.#gemm = new Gemm(this.device, this.memoryPool);
    this.#staging = new Staging(this.device);
  }

  // What kernels use.

  /** Runs `kernel` of tfjs, so that memory taken in it bears its name, and is given back where it throws. */
  within<T>(kernelName: string, run: () => T): T {
    const before = this.#running;
    this.#running = kernelName;
    const from = this.#journal.begin();
    let failed = true;
    try {
      const result = run();
      failed = false;
      return result;
    } finally {
      this.#running = before;
      if (failed) this.#journal.rollBack(from, (data) => this.disposeData(data));
      else this.#journal.end(from);
    }
  }

  /** A new tensor whose elements are still to be written; owned by the caller. */
  output(shape: readonly number[], dtype: tf.DataType = 'float32', physical = physicalOf(dtype)): tf.TensorInfo {
    const elements = tf.util.sizeFromShape([...shape]);
    const block = this.memoryPool.allocate(elements * BYTES[physical], this.#running);
    return this.#register(shape, new TensorData(dtype, physical, elements, block, 0));
  }

  /** A tensor that shares memory with `info`, from element `offset` on; owned by the caller. */
  view(info: tf.TensorInfo, shape: readonly number[], offset = 0, dtype = info.dtype): tf.TensorInfo {
    const data = this.#onDevice(info);
    data.block!.users++;
    const elements = tf.util.sizeFromShape([...shape]);
    const at = data.offset + offset * BYTES[data.physical];
    const made = this.#register(shape, new TensorData(dtype, data.physical, elements, data.block, at));
    if (data.codebook) {
      // Scales of blocks are counted from the first number.
      if (offset !== 0 && data.physical === 'u4')
        throw new TypeError('internal: no part of a matrix in four bits is one');
      this.setCodebook(made, data.codebook);
    }
    if (data.gathered) this.data.get(made.dataId).gathered = data.gathered;
    return made;
  }

  /** A tensor that lies in a block, `offset` bytes from its begin, as one more user of it; owned by the caller. */
  tensorIn(block: Block, offset: number, shape: readonly number[], physical: Physical): tf.TensorInfo {
    block.users++;
    const elements = tf.util.sizeFromShape([...shape]);
    return this.#register(shape, new TensorData(dtypeOf(physical), physical, elements, block, offset));
  }

  /** The same tensor once more, in another shape. */
  share(info: tf.TensorInfo, shape: readonly number[] = info.shape): tf.TensorInfo {
    this.incRef(info.dataId);
    return { dataId: info.dataId, shape: [...shape], dtype: info.dtype };
  }

  /** Gives back a tensor that a kernel made for itself. */
  release(info: tf.TensorInfo): void {
    this.disposeData(info.dataId);
  }

  /** Where a tensor is on the device. */
  address(info: tf.TensorInfo): number {
    const data = this.#onDevice(info);
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
    codebook.block.users++;
    this.data.get(info.dataId).codebook = codebook;
    this.data.packed++;
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
    const size = tf.util.sizeFromShape(from.shape);
    const form = unpackingOf(this.physical(from));
    if (form) {
      form.unpack(this, from, to, physical);
      return;
    }
    const types = { FROM: C_TYPE[this.physical(from)], TO: C_TYPE[physical] };
    const kernel = this.kernel('cast', 'cast_elements', 'ppl', types);
    this.launch(kernel, [Math.min(8192, Math.ceil(size / 1024))], [256], [this.address(from), to, size]);
  }

  /**
   * Memory of `bytes` that holds something computed from `info` alone, under a name: made once, given back with the tensor. Whoever writes into
   * a tensor of which something is derived keeps it up to date (`derivedAddress`).
   */
  derived(info: tf.TensorInfo, name: string, bytes: number, make: (address: number) => void): number {
    const data = this.data.get(info.dataId);
    const known = data.derived?.get(name);
    if (known) {
      this.#touchDerived(data, name, known);
      return known.address;
    }
    this.#refuseDerived(data, name);
    const block = this.#filled(bytes, this.#running, make);
    data.derived ??= new Map();
    data.derived.set(name, block);
    return block.address;
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
    const first = this.derivedAddress(infos[0]!, name);
    // On the path of every branch, so without arrays.
    let next = first;
    let together = first !== 0;
    for (let n = 0; together && n < infos.length; n++) {
      together = this.derivedAddress(infos[n]!, name) === next;
      next += sizes[n]! * size;
    }
    if (together) return first;
    const bytes = sizes.map((count) => count * size);
    const places = bytes.map((_, n) => bytes.slice(0, n).reduce((sum, count) => sum + count, 0));
    for (const info of infos) this.#refuseDerived(this.data.get(info.dataId), name);
    const total = bytes.reduce((sum, n) => sum + n, 0);
    const whole = this.#filled(total, this.#running, (address) => {
      infos.forEach((info, n) => {
        make(info, address + places[n]!);
      });
    });
    infos.forEach((info, n) => {
      const data = this.data.get(info.dataId);
      const before = data.derived?.get(name);
      if (before) this.memoryPool.release(before);
      data.derived ??= new Map();
      data.derived.set(name, this.memoryPool.part(whole, places[n]!, bytes[n]!));
    });
    this.memoryPool.release(whole);
    return whole.address;
  }

  /** Where it is, or 0 where nothing of that name was derived. */
  derivedAddress(info: tf.TensorInfo, name: string): number {
    const data = this.data.get(info.dataId);
    const block = data.derived?.get(name);
    if (block) this.#touchDerived(data, name, block);
    return block?.address ?? 0;
  }

  /** Runs `f` with `bytes` of device memory that are given back after it. */
  scratch<T>(bytes: number, f: (address: number) => T): T {
    const block = this.memoryPool.allocate(bytes, this.#running);
    try {
      return f(block.address);
    } finally {
      this.memoryPool.release(block);
    }
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
    const asides = this.#shards ? undefined : this.device.recording?.asides;
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
    const bytes = tf.util.sizeFromShape(info.shape) * BYTES[this.physical(info)];
    if (bytes === 0) return;
    this.device.recording?.log.note('clear', [bytes]);
    this.device.call('cuMemsetD8Async', this.address(info), 0, bytes, this.device.stream);
  }

  copy(from: number, to: number, bytes: number): void {
    if (bytes === 0) return;
    this.device.recording?.log.note('copy', [bytes]);
    this.device.call('cuMemcpyDtoDAsync_v2', to, from, bytes, this.device.stream);
  }

  /** Makes a tensor of stored bytes, e.g. bf16 from a file, without widening them on the host. Owned by the caller. */
  upload(bytes: Uint8Array, shape: readonly number[], dtype: tf.DataType, physical: Physical): tf.TensorInfo {
    this.device.recording?.refuse('a stored tensor was uploaded');
    const info = this.output(shape, dtype, physical);
    const wanted = tf.util.sizeFromShape([...shape]) * BYTES[physical];
    if (bytes.byteLength !== wanted) {
      this.release(info);
      throw new RangeError(`upload: [${shape}] of ${physical} takes ${wanted} bytes, got ${bytes.byteLength}`);
    }
    try {
      this.#staging.upload(bytes, this.address(info));
    } catch (error) {
      this.release(info);
      throw error;
    }
    return info;
  }

  /**
   * Address of a host array on the device, which is uploaded once for the last arrays that were asked for: what all layers of a step share. The
   * array must not change. The address is good for a launch that asks for no more than `MOST_CONSTANTS` arrays: to ask for one again makes it the
   * last to go.
   */
  constant(values: Int32Array | Float32Array): number {
    const input = this.device.recording?.inputs.get(values);
    if (input) return input.address;
    this.device.recording?.refuse(
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
      this.memoryPool.release(block);
    }
    const block = this.#filled(values.byteLength, 'layouts', (address) => this.#staging.upload(values, address));
    this.#constants.set(values, block);
    return block.address;
  }

  /** Copies the bytes of `values` to memory that a kernel holds. */
  uploadTo(address: number, values: ArrayBufferView): void {
    const { recording } = this.device;
    if (!recording) {
      this.#staging.upload(values, address);
      return;
    }
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    const from = recording.fix(bytes);
    if (recording.capturing) this.copy(from, address, bytes.byteLength);
    else {
      recording.log.note('copy', [bytes.byteLength]);
      this.#staging.upload(values, address);
    }
  }

  /** Uploads at once, whatever is recorded: what a recorded step finds on the device when it is launched. */
  uploadInputs(address: number, bytes: Uint8Array): void {
    this.#staging.upload(bytes, address);
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
  async connect(options: ConnectOptions): Promise<Communicator> {
    if (this.#communicator?.isOpen) throw new Error('cuda: the ranks are connected; close the communicator before');
    this.#communicator = await Communicator.connect(this.device, options);
    return this.#communicator;
  }

  /** Of `connect`. @throws Error before it. */
  get communicator(): Communicator {
    if (this.#communicator) return this.#communicator;
    throw new Error('cuda: ranks are not connected; call connect first');
  }

  /** Begins to sum float32 tensors over the ranks, beside what is launched next. Takes them over. */
  sumOverRanks(tensors: readonly tf.Tensor[]): SumOfTensors {
    return sumTensors(this, this.communicator, tensors);
  }

  /** Frozen matrices of which each rank holds a part: sparse-ops' `WeightShards`. @param buffers layers that are whole at one time. */
  shardWeights({ buffers = 2 }: { readonly buffers?: number } = {}): CudaWeightShards {
    this.#shards = new CudaWeightShards(this, this.communicator, buffers);
    return this.#shards;
  }

  settle(): void {
    this.#shards?.settle();
  }

  forgetGathers(): void {
    this.#shards?.forget();
  }

  /** A tensor in memory that somebody else fills and keeps (sharding/). Owned by the caller. */
  gatheredTensor(shape: readonly number[], like: TensorData, block: Block, gathered: Gathered): tf.TensorInfo {
    const data = new TensorData(like.dtype, like.physical, like.elements, block, 0);
    data.gathered = gathered;
    const info = this.#register(shape, data);
    return info;
  }

  /** Copies device memory to the bytes of `values`, waiting for all work before. Not inside a step. */
  readFrom(address: number, values: ArrayBufferView): void {
    this.device.recording?.refuse('device memory was read by the host');
    this.#staging.download(address, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  /** Runs `f` and says where the GPU's time went, by kernel and product. */
  profile(f: () => void): ProfileEntry[] {
    const profiler = new Profiler(this.device);
    this.device.profiler = profiler;
    try {
      f();
    } finally {
      this.device.profiler = null;
    }
    return profiler.finish();
  }

  /** Kernels and products launched so far. */
  get launches(): { readonly kernels: number; readonly products: number } {
    return { kernels: this.#launcher.launches, products: this.#gemm.calls };
  }

  // What tfjs asks of a backend.

  override write(values: tf.BackendValues | null, shape: number[], dtype: tf.DataType): tf.DataId {
    const data = this.#write(values, shape, dtype, 1);
    this.#journal.note(data, 1);
    return this.data.add(data);
  }

  override move(
    dataId: tf.DataId,
    values: tf.BackendValues,
    shape: number[],
    dtype: tf.DataType,
    references: number,
  ): void {
    this.data.adopt(dataId, this.#write(values, shape, dtype, references));
  }

  #write(values: tf.BackendValues | null, shape: number[], dtype: tf.DataType, references: number): TensorData {
    const elements = tf.util.sizeFromShape(shape);
    if (dtype === 'string') return new TensorData(dtype, 'u8', elements, null, 0, values as Uint8Array[], references);
    const physical = physicalOf(dtype);
    const { recording } = this.device;
    if (recording && values !== null) {
      const input = recording.inputs.get(values as Float32Array);
      if (input) {
        input.users++;
        return new TensorData(dtype, physical, elements, input, 0, null, references);
      }
      if (elements > 1)
        recording.refuse(`an array of ${elements} numbers came from the host and is no input of the step`);
    }
    if (values !== null && elements === 1) {
      return new TensorData(dtype, physical, 1, null, 0, [Number(values[0])], references);
    }
    const block = this.#filled(elements * BYTES[physical], this.#running, (address) => {
      if (values !== null) this.#staging.upload(typedArray(values, dtype), address);
    });
    return new TensorData(dtype, physical, elements, block, 0, null, references);
  }

  /** The tensor may be disposed of meanwhile: what it had at the call is read. */
  override async read(dataId: tf.DataId): Promise<tf.BackendValues> {
    this.device.recording?.refuse('a tensor was read by the host');
    const data = heldMemory(this.#living(dataId));
    const blocks = [data.block, data.codebook?.block].filter((block) => block !== null && block !== undefined);
    for (const block of blocks) block.users++;
    let arriving: Arriving | null = null;
    try {
      // Those that others may take the place of meanwhile are read at once.
      if (data.gathered) return this.#valuesOf(data);
      // A few bytes are asked for at once, so that what is launched meanwhile is not waited for.
      if (data.host === null && data.block && !data.codebook)
        arriving = this.#staging.ask(data.block.address + data.offset, bytesOf(data));
      await this.device.settled();
      return this.#valuesOf(data, arriving);
    } catch (error) {
      arriving?.take();
      throw error;
    } finally {
      for (const block of blocks) this.memoryPool.release(block);
    }
  }

  override readSync(dataId: tf.DataId): tf.BackendValues {
    const data = this.#living(dataId);
    if (data.host === null) this.device.recording?.refuse('a tensor was read by the host');
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
    this.scratch(values.byteLength, (address) => {
      form.unpack(this, info, address, 'f32');
      this.#staging.download(address, new Uint8Array(values.buffer));
    });
    return values;
  }

  override disposeData(dataId: tf.DataId, force = false): boolean {
    if (!this.data.has(dataId)) return true;
    const data = this.data.get(dataId);
    this.#journal.note(data, -1);
    data.references--;
    if (!force && data.references > 0) return false;
    this.data.delete(dataId);
    if (data.block) this.memoryPool.release(data.block);
    if (data.derived) for (const block of data.derived.values()) this.memoryPool.release(block);
    if (data.codebook) this.memoryPool.release(data.codebook.block);
    // Nobody finds freed memory through it.
    data.block = null;
    data.derived = null;
    data.codebook = null;
    return true;
  }

  override refCount(dataId: tf.DataId): number {
    return this.data.has(dataId) ? this.data.get(dataId).references : 0;
  }

  override incRef(dataId: tf.DataId): void {
    const data = this.data.get(dataId);
    this.#journal.note(data, 1);
    data.references++;
  }

  override numDataIds(): number {
    return this.data.count;
  }

  override memory(): { unreliable: boolean; numBytesInGPU: number; reasons: string[] } {
    return { unreliable: false, numBytesInGPU: this.memoryPool.bytes, reasons: [] };
  }

  /** Bytes of a frozen tensor of a file's elements, as `SpftStoredTensor` stores it, or of bytes (`U8`); for sparse-ops' `frozenBytes`. */
  frozenBytes(type: 'BF16' | 'F16' | 'F32' | 'U8', shape: readonly number[]): number {
    const size = shape.reduce((product, n) => product * n, 1);
    return (type === 'U8' ? 1 : BYTES[storedTypeOf(this, shape)]) * size;
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
    this.#communicator?.abort();
    this.device.close();
  }

  #register(shape: readonly number[], data: TensorData): tf.TensorInfo {
    this.#journal.note(data, 1);
    return { dataId: this.data.add(data), shape: [...shape], dtype: data.dtype };
  }

  /** New memory with something in it; none where it cannot be filled. */
  #filled(bytes: number, by: string, fill: (address: number) => void): Block {
    const block = this.memoryPool.allocate(bytes, by);
    try {
      fill(block.address);
    } catch (error) {
      this.memoryPool.release(block);
      throw error;
    }
    return block;
  }

  #touchDerived(data: TensorData, name: string, block: Block): void {
    const { recording } = this.device;
    if (recording?.capturing && !data.block?.arena) recording.derived.push({ data, name, block });
  }

  /** A graph's memory is used again by the next: what is kept with a tensor that lives longer cannot lie there. */
  #refuseDerived(data: TensorData, name: string): void {
    if (!data.alive) throw new CudaDisposedError(this.#running, [data.elements], data.dtype);
    if (data.block && !data.block.arena)
      this.device.recording?.refuse(`${name} was derived from a tensor for the first time`);
  }

  /** @throws CudaDisposedError where it is gone. */
  #living(dataId: tf.DataId): TensorData {
    const data = this.data.get(dataId);
    if (!data.alive) throw new CudaDisposedError('read', [data.elements], data.dtype);
    return data;
  }

  /** What is known of a tensor, which is on the device from now on. */
  #onDevice(info: tf.TensorInfo): TensorData {
    const data = this.data.get(info.dataId);
    // A tensor that is gone has no block either, so that to look whether it lives costs nothing.
    if (data.block === null) {
      if (!data.alive) throw new CudaDisposedError(this.#running, info.shape, info.dtype);
      if (data.dtype === 'string') throw new TypeError('backend cuda: strings cannot be on the device');
      data.block = this.#filled(data.elements * BYTES[data.physical], this.#running, (address) => {
        // Part of the log: a number that differs from step to step must be an input.
        this.device.recording?.log.note('number', data.host as number[]);
        this.uploadTo(address, typedArray(data.host as number[], data.dtype));
      });
    }
    data.gathered?.ensure();
    const { recording } = this.device;
    const { aside } = data.block;
    if (aside && !aside.joined) recording?.asides.join(aside);
    const lasting = !data.block.arena && (!data.block.whole || data.gathered);
    if (recording?.capturing && lasting) recording.touched.set(data, data.block);
    return data;
  }
}
