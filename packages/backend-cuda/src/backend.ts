/**
 * @file The tfjs backend `cuda`: tensors (tensors/tensor-backend.ts) and what runs on them: launches and products (device/), other ranks (collectives/, sharding/), recorded
 * steps (recording/). Kernels register themselves (`kernels.ts`).
 */
import type * as tf from '@tensorflow/tfjs';
import { type Communicator, type ConnectOptions, loadNccl, uniqueId } from './collectives/communicator.js';
import { Ranks } from './collectives/ranks.js';
import type { SumOfTensors } from './collectives/tensor-sums.js';
import { type CodeGradient, CodeGradients } from './device/code-gradients.js';
import { CodeProducts } from './device/code-products.js';
import { Gemm, type Product } from './device/gemm.js';
import { type Dimensions, Launcher } from './device/launch.js';
import { type Defines, type Kernel, Modules } from './device/modules.js';
import { type ProfileEntry, profileOf } from './device/profiler.js';
import { refuseUnknownOptions } from './known-options.js';
import type { Lane } from './recording/asides.js';
import { CudaStepRecorder } from './recording/step-recorder.js';
import { recordsSteps, weightTypeOf } from './settings.js';
import type { CudaWeightShards } from './sharding/weight-shards.js';
import { storedBytes } from './shared/stored-on-device.js';
import { TensorBackend } from './tensors/tensor-backend.js';

export const BACKEND_NAME = 'cuda';

export class CudaBackend extends TensorBackend {
  /** Element type of frozen matrices that come as files: bf16, or float32 by `SPFT_CUDA_PRECISION=float32`. */
  readonly weightType: 'bf16' | 'f32' = weightTypeOf();
  /**
   * Multiplications that gathered channels of a layer must save, or they are masked instead (spft/project/layers.ts): what an H200 makes in the time
   * of the launches that gathering takes.
   */
  masksBelow = 2 ** 32;
  /** Numbers of a frozen matrix from which on products of few rows read it as it lies (forms/skinny.ts): reading less takes no longer than a launch. */
  skinnyFrom = 2 ** 21;
  /** Multiplications of a frozen product below which what can be made beside it is (spft/project/layers.ts): larger ones fill the GPU. */
  besideBelow = 2 ** 33;
  /** Bytes of attention's dS up to which it is stored between the two kernels that want it (Hopper); of longer sequences the second makes it again. */
  storesDsUpTo = 2 ** 28;
  /** Whether gradients of low-rank branches are made of tiles that are copied in bulk, where the GPU can (Hopper); tests have it otherwise too. */
  copiesBranchesInBulk = true;
  readonly #modules: Modules;
  readonly #launcher: Launcher;
  readonly #gemm: Gemm;
  readonly #codeProducts: CodeProducts;
  readonly #codeGradients: CodeGradients;
  readonly #ranks: Ranks;
  readonly #recordsSteps = recordsSteps();

  /** @throws CudaUnavailableError where this machine cannot run it, CudaSettingError for a setting that means nothing. */
  constructor(ordinal = 0) {
    super(ordinal);
    this.#modules = new Modules(this.device);
    this.#launcher = new Launcher(this.device, this.#modules);
    this.#gemm = new Gemm(this.device, this.memoryPool);
    this.#codeProducts = new CodeProducts(this.device, this.#launcher, this.#modules);
    this.#codeGradients = new CodeGradients(this.device, this.#launcher, this.#modules);
    this.#ranks = new Ranks(this);
  }

  // What kernels use.

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

  /** The lane of what makes a tensor, while nobody has waited for it; 0 where it is made in turn. */
  laneOf(info: tf.TensorInfo): Lane {
    const aside = this.data.get(info.dataId).block?.aside;
    return aside && !aside.joined ? (aside.lane as Lane) : 0;
  }

  /**
   * The same for work that writes a part of memory taken before it.
   * @returns what waits for it, to be called before anybody reads that; of work in turn there is nothing to wait for.
   */
  besideRows(lane: Lane, work: () => void): () => void {
    this.beside(lane, work);
    return () => this.device.recording?.asides.joinLane(lane);
  }

  multiply(product: Product): void {
    if (this.#codeProducts.multiply(product)) return;
    if (product.lowRank || product.turn)
      throw new TypeError('internal: a low-rank branch cannot be added to this product, or it cannot be turned');
    this.#gemm.multiply(product);
  }

  /** Whether a product of codes, m by n numbers of sums of k, that has a low-rank branch to add (`Product.lowRank`) is made by a kernel of ours (device/code-products.ts), which alone can. */
  hasOwnProduct(m: number, n: number, k: number): boolean {
    return this.#codeProducts.takes(m, n, k);
  }

  /** Whether gradients [rows, inputs] of codes of matrices of so many rows in all are made by a kernel of ours, with a low-rank branch or without (device/code-gradients.ts). */
  takesGradient(rows: number, inputs: number, inner: number): boolean {
    return this.#codeGradients.takes(rows, inputs, inner);
  }

  /** @returns whether it was made: not where it is not taken, or its places do not allow it. */
  multiplyGradient(of: CodeGradient): boolean {
    return this.#codeGradients.multiply(of);
  }

  /** Makes what products of codes want and no step may make for the first time. */
  expectCodes(): void {
    this.#gemm.expectCodes();
  }

  /** Whether a product of codes can have a scale for each row of activations (gemm.ts). */
  get scalesRows(): boolean {
    return this.#gemm.scalesRows;
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

  /** Frozen matrices of which each rank holds a part: sparse-ops' `WeightShards`. @param options `buffers`: layers that are whole at one time. */
  shardWeights(options: { readonly buffers?: number } = {}): CudaWeightShards {
    refuseUnknownOptions('shardWeights', options, { buffers: true });
    return this.#ranks.shardWeights(options.buffers ?? 2);
  }

  settle(): void {
    this.#ranks.shards?.settle();
  }

  forgetGathers(): void {
    this.#ranks.shards?.forget();
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
