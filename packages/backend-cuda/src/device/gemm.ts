/**
 * @file Matrix products by cuBLASLt. A product's description, layouts and algorithm are made once for its shape and kept.
 *
 * Products that are worth it try the algorithms that cuBLASLt proposes and keep the fastest, by the time of a graph of some launches: on an H200 its first
 * proposal is up to a third slower. The choice is remembered on disk, so that another process computes the same bits. Batches of text have all numbers of
 * tokens: these are timed once for all within a quarter (`similar`).
 *
 * Nothing is launched that cuBLASLt does not propose for the product at hand: what cublasLtMatmulAlgoCheck takes may fail when it is launched, as was
 * seen where several processes share a GPU. A proposal that fails all the same gives its place to another one. `Proposals` leaves out those that fail
 * only once they run.
 */
import { CudaOutOfMemoryError } from '../errors.js';
import { bindCublasLt, type CublasLtFunctions, cublasLtVersion } from '../libraries/cublaslt.js';
import { HostMemory } from '../libraries/native.js';
import { BYTES } from '../storage.js';
import { AlgorithmChoices } from './algorithm-choices.js';
import { ByProduct } from './by-product.js';
import { type Device, loadFrom } from './device.js';
import { millisecondsInGraph } from './graph-time.js';
import type { Block, Memory } from './memory.js';
import { describe, type Product, planKey, similar } from './product.js';
import { type Described, failure, ProductDescriptions } from './product-descriptions.js';
import type { Proposals } from './proposals.js';

export { type MatrixType, type OperandType, type Product, productOf } from './product.js';

interface Plan extends Described {
  readonly key: string;
  readonly proposals: Proposals;
  /** Which of them is launched. */
  place: number;
}

const WORKSPACE = 64 * 2 ** 20;
/** Multiplications from which on algorithms are timed: an adapter's thin products of a small model too, as a step has hundreds of them. */
const WORTH_TIMING = 2 ** 24;
/** Proposals that are timed. */
const TIMED = 8;
/** Plans from which on all are made anew. */
const MOST_PLANS = 8192;
/** Milliseconds before all proposals of a product are tried again. */
const PAUSES = [0, 20, 200, 1000];
const NEVER = new Int32Array(new SharedArrayBuffer(4));
/** More bytes of a GPU than a context and a display take: two processes' contexts, or one's model. */
const TAKEN_ELSEWHERE = 3 * 2 ** 30;
/**
 * So long a proposal is at work when it is timed. A training step draws all the power that a GPU may, which slows products down, some more than others.
 * Small ones do not draw it, and there are more of them: so many times are enough.
 */
const TIMED_MILLISECONDS = 5;
const TIMED_RUNS = 50;

export class Gemm {
  readonly #device: Device;
  readonly #functions: CublasLtFunctions;
  readonly #memory: Memory;
  readonly #descriptions: ProductDescriptions;
  /** By lane. */
  readonly #workspaces: Block[] = [];
  readonly #plans = new ByProduct<Plan>();
  readonly #choices: AlgorithmChoices;
  /** e.g. 120900. */
  readonly #version: number;
  readonly #scalars = new HostMemory(8);
  /** The same, as floats. */
  readonly #alphaAndBeta = new Float32Array(this.#scalars.memory.buffer, this.#scalars.memory.byteOffset, 2);
  /** Ones, for the operand whose rows are not scaled where the other's are. */
  #ones: Block | null = null;
  /** See `#isShared`; null before it was asked. */
  #shared: boolean | null = null;
  /** Products made so far. */
  calls = 0;

  /** @throws CudaUnavailableError where cuBLASLt is not found. */
  constructor(device: Device, memory: Memory) {
    this.#device = device;
    this.#memory = memory;
    const { loaded, path } = loadFrom(
      'cublasLt',
      (path) => bindCublasLt(path, device.info),
      'cuBLASLt (libcublasLt.so of CUDA 12 or 13) was not found',
    );
    this.#functions = loaded;
    const [major, minor] = cublasLtVersion(path).split('.').map(Number) as [number, number];
    this.#version = 10000 * major + 100 * minor;
    this.#descriptions = new ProductDescriptions(loaded);
    this.#workspaces.push(memory.allocate(WORKSPACE, 'workspace of cuBLASLt'));
    this.#choices = new AlgorithmChoices(device, cublasLtVersion(path, device.info));
  }

  /** @throws CudaError. */
  multiply(product: Product): void {
    const { m, n, alpha = 1, beta = 0, batch = 1 } = product;
    if (m === 0 || n === 0 || batch === 0) return;
    const plan = this.#plan(product);
    if (product.type === 'e4m3') this.#descriptions.setScales(plan.description, product, this.#onesOf(product));
    const { profiler, recording } = this.#device;
    recording?.log.note('product', [m, n, product.k, batch, alpha, beta]);
    profiler?.before();
    const own = recording ? recording.counters.take(plan.proposals.workspace(plan.place)) : 0;
    const status = this.#run(plan, plan.place, product, alpha, beta, own);
    if (status !== 0) this.#recover(plan, product, alpha, beta, status);
    if (profiler) profiler.after(`product ${describe(product)}`);
    this.calls++;
  }

  /**
   * Makes a product whose algorithm could not be launched by another one that is proposed for it, and remembers that one. A launch that is refused has
   * written nothing. Where none can be launched, they are tried again with the work before done and the pool's spare memory given back, a few times:
   * on a GPU that many processes share there may be no room for a kernel's code just now.
   * @throws CudaError of the first where none can be launched; that of the device where the GPU has failed before.
   */
  #recover(plan: Plan, product: Product, alpha: number, beta: number, status: number): void {
    const { proposals, place: failed } = plan;
    const launches = (place: number) => this.#run(plan, place, product, alpha, beta) === 0;
    for (let place = 0; place < proposals.count; place++) {
      if (place === failed || !launches(place)) continue;
      plan.place = place;
      this.#choices.choose(plan.key, proposals.name(place));
      return;
    }
    const pauses = this.#device.recording ? [] : PAUSES;
    for (const pause of pauses) {
      this.#device.synchronize();
      this.#memory.trim();
      Atomics.wait(NEVER, 0, 0, pause);
      for (let place = 0; place < proposals.count; place++) {
        if (!launches(place)) continue;
        plan.place = place;
        return;
      }
    }
    const { free } = this.#memory.onDevice();
    const detail = `${describe(product)}; ${proposals.count} algorithms tried, ${Math.round(free / 2 ** 20)} MiB of the GPU free`;
    throw failure('cublasLtMatmul', status, detail);
  }

  /** @param own a workspace of its own, or 0. @returns the status. */
  #run(plan: Plan, place: number, product: Product, alpha: number, beta: number, own = 0): number {
    const { description, layouts, proposals } = plan;
    const { address } = this.#scalars;
    this.#alphaAndBeta[0] = alpha;
    this.#alphaAndBeta[1] = beta;
    const [a, b, c, d] = layouts;
    // The operands change places (product-descriptions.ts).
    const { cublasLtMatmul } = this.#functions;
    const { b: left, a: right, c: added = product.d, d: written } = product;
    const { stream, lane } = this.#device;
    const workspace = own === 0 ? this.#workspaceOf(lane) : own;
    const bytes = own === 0 ? WORKSPACE : proposals.workspace(place);
    const betaAt = address + 4;
    // biome-ignore format: one line for each matrix
    return cublasLtMatmul(this.#descriptions.handle, description, address, left, b, right, a, betaAt,
      added, c, written, d, proposals.address(place), workspace, bytes, stream);
  }

  /** Products that may be at work at one time have one each. */
  #workspaceOf(lane: number): number {
    const known = this.#workspaces[lane];
    if (known) return known.address;
    this.#device.recording?.refuse('a product beside others was its first');
    const made = this.#memory.allocate(WORKSPACE, 'workspace of cuBLASLt');
    this.#workspaces[lane] = made;
    return made.address;
  }

  /** Makes what products of e4m3 want beside their operands: a recorded step must find it. */
  expectCodes(): void {
    if (this.scalesRows) this.#onesFor(1);
  }

  /** Whether products of e4m3 can have a scale for each row of a: cuBLASLt 12.9 on Hopper. Else there is one for all of it. */
  get scalesRows(): boolean {
    const [major, minor] = this.#device.info.capability;
    return major === 9 && minor === 0 && this.#version >= 120900;
  }

  #onesOf({ n, scaledByRow }: Product): number {
    return scaledByRow ? this.#onesFor(n) : 0;
  }

  /** Address of `count` ones. They stay where they are while they are enough, as a captured product reads them there. */
  #onesFor(count: number): number {
    if (this.#ones === null || this.#ones.bytes < 4 * count) {
      const bytes = 4 * Math.max(2 ** 15, 2 ** Math.ceil(Math.log2(count)));
      const made = this.#memory.allocate(bytes, 'scales of products');
      this.#device.call('cuMemsetD32Async', made.address, 0x3f800000, bytes / 4, this.#device.stream);
      // An outgrown block is not given back: graphs may hold its address, and there is one for each doubling.
      this.#ones = made;
    }
    return this.#ones.address;
  }

  #plan(product: Product): Plan {
    const known = this.#plans.get(product);
    if (known) return known;
    const { recording } = this.#device;
    recording?.refuseCaptured(`a product was new to it, ${describe(product)}`);
    if (this.#plans.size >= MOST_PLANS) this.#forgetPlans();
    // What a watched run takes and launches to time algorithms is no part of the step.
    this.#device.recording = null;
    try {
      const plan = this.#makePlan(product, planKey(product));
      this.#plans.add(product, plan);
      return plan;
    } finally {
      this.#device.recording = recording;
    }
  }

  #forgetPlans(): void {
    for (const plan of this.#plans.values()) this.#descriptions.destroy(plan);
    this.#plans.clear();
  }

  #makePlan(product: Product, key: string): Plan {
    const described = this.#descriptions.make(product, this.#onesOf(product));
    try {
      const proposals = this.#descriptions.proposals(described, product, WORKSPACE);
      const plan: Plan = { key, ...described, proposals, place: 0 };
      plan.place = this.#choose(product, plan);
      return plan;
    } catch (error) {
      this.#descriptions.destroy(described);
      throw error;
    }
  }

  /** Which of its proposals a product is made by. */
  #choose(product: Product, plan: Plan): number {
    const { m, n, k, batch = 1 } = product;
    const { proposals, key } = plan;
    if (!this.#choices.tunes || proposals.count === 1 || m * n * k * batch < WORTH_TIMING) return 0;
    const names = proposals.names();
    // Its own, be it one that takes the place of another, borrowed or timed, which has failed.
    const own = this.#choices.known(key, names);
    if (own !== undefined) return own;
    const other = similar(product);
    if (other.m !== m || other.k !== k) {
      const lent = this.#plan(other);
      // -1 where it is not proposed for this product.
      return Math.max(0, names.indexOf(lent.proposals.name(lent.place)));
    }
    if (this.#isShared()) return 0;
    const timer = this.#timer(product);
    if (timer === null) return 0;
    try {
      return this.#choices.of(key, names.slice(0, TIMED), (place) => timer.time(plan, place));
    } finally {
      timer.end();
    }
  }

  /**
   * Whether other processes are at work on this GPU, as it was before the first product was timed. Then times say nothing, and take long.
   */
  #isShared(): boolean {
    if (this.#shared !== null) return this.#shared;
    this.#shared = process.env.SPFT_CUDA_TUNE !== '1' && this.#memory.takenElsewhere > TAKEN_ELSEWHERE;
    if (this.#shared) {
      console.warn(
        "cuda: other processes use this GPU, so products take cuBLASLt's first proposals instead of being timed; a run alone on it times them once for all (SPFT_CUDA_TUNE=1: time them all the same)",
      );
    }
    return this.#shared;
  }

  /**
   * Milliseconds of each proposal in turn; infinity where one fails. What a product adds to is left alone.
   * @returns null where there is no room for a result beside it: a product is not timed at the price of failing.
   */
  #timer(product: Product): { time(plan: Plan, place: number): number; end(): void } | null {
    const { m, n, ldd = n, batch = 1, strideD = m * ldd, outputType, beta = 0 } = product;
    const elements = (batch - 1) * strideD + m * ldd;
    let scratch: Block | null = null;
    try {
      if (beta !== 0) scratch = this.#memory.allocate(elements * BYTES[outputType], 'timing of products');
    } catch (error) {
      if (error instanceof CudaOutOfMemoryError) return null;
      throw error;
    }
    const measured = scratch ? { ...product, d: scratch.address, c: product.c ?? product.d } : product;
    return {
      time: (plan, place) => {
        try {
          const run = () => {
            const status = this.#run(plan, place, measured, 1, beta);
            if (status !== 0) throw failure('cublasLtMatmul', status, describe(measured));
          };
          // Not its first run, which loads it.
          run();
          const once = Math.max(1e-3, this.#device.milliseconds(run));
          const times = Math.min(TIMED_RUNS, Math.ceil(TIMED_MILLISECONDS / once));
          return millisecondsInGraph(this.#device, times, run);
        } catch {
          return Number.POSITIVE_INFINITY;
        }
      },
      end: () => scratch && this.#memory.release(scratch),
    };
  }
}
