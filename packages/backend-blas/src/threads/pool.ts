/**
 * @file The threads that do the backend's work, the caller's among them.
 *
 * A job is a list of chunks that depend on nothing of each other; each is a list of calls, of the BLAS on one thread or of a SIMD kernel, in
 * order. Whoever is free takes the next chunk. So a thread that starts late or is kept busy by something else costs no more than its part,
 * and what belongs together (a tile's product, softmax and next product) stays in one core's cache. A job costs 4 µs beyond its work.
 */
import { createRequire } from 'node:module';
import { BlasError } from '../errors.js';
import type { Blas } from '../library/blas.js';
import { NO_TRANSPOSE, ROW_MAJOR, TRANSPOSE } from '../library/blas.js';
import type { Block } from '../memory/allocator.js';
import type { Heap } from '../memory/heap.js';
import { CONSTANTS_AT, CONSTANTS_BYTES, writeConstants } from './constants.js';
import { Crew } from './crew.js';
import { CONTROL, GEMM, IN_SCRATCH, MOST_CHUNKS, publish, runChunks, type ThreadOptions } from './interpreter.js';
import { KERNEL_NAMES, type KernelName, type Kernels, kernelModule, kernelsOn } from './kernels.js';
import { whileLoading } from './loading.js';

/** Numbers of a job's program at most. More is done in several jobs. */
const MOST_NUMBERS = 2 ** 18;

const STARTS_AT = CONSTANTS_AT + CONSTANTS_BYTES;
const PROGRAM_AT = STARTS_AT + (MOST_CHUNKS + 2) * 4;

/** Bytes at the beginning of the memory in which jobs lie. */
export const POOL_BYTES = PROGRAM_AT + MOST_NUMBERS * 8;

/**
 * How often a thread looks for the next job, or for the end of this one, before it sleeps: some milliseconds, as OpenBLAS's own do. Jobs of a step
 * follow each other closely; and who sleeps is woken on the core of whoever wakes him, where the two take turns at half the speed.
 */
const SPINS = 1_000_000;

const numberOf = new Map<string, number>(KERNEL_NAMES.map((name, n) => [name, n + 1]));

/** The text of another thread: waits for a job, works, waits again. */
const threadText = (first: string): string => `
const { workerData } = require('node:worker_threads');
const { thread, loads, memory, module, names, blas, koffi, base, states, layout } = workerData;
let sgemm = () => {};
${whileLoading('if (blas) sgemm = require(koffi).load(blas.path).func(blas.prototype);')}
const exported = new WebAssembly.Instance(module, { env: { memory } }).exports;
const control = new Int32Array(memory.buffer, 0, layout.words);
const options = {
  thread, control, states, base,
  tickets: new BigInt64Array(memory.buffer, layout.ticketsAt, 1),
  starts: new Int32Array(memory.buffer, layout.startsAt, layout.starts),
  program: new Float64Array(memory.buffer, layout.programAt, layout.program),
  kernels: [null, ...names.map((name) => exported[name])],
  sgemm,
};
${first}
const run = ${runChunks.toString()};
for (let seen = 0; ; ) {
  for (let spins = 0; spins < ${SPINS} && Atomics.load(control, 0) === seen; spins++);
  Atomics.wait(control, 0, seen);
  seen = Atomics.load(control, 0);
  run(options);
}`;

/** What is used of a BLAS; without a declaration other threads have none. */
export type PoolBlas = Pick<Blas, 'sgemm'> & { readonly declaration: Blas['declaration'] | null };

export interface PoolOptions {
  readonly heap: Heap;
  readonly blas: PoolBlas;
  /** This one included. */
  readonly threads: number;
  /** Native address of the memory's first byte. */
  readonly base: number;
  /** JavaScript that each other thread runs before its first job, which may change its `options`; for tests. */
  readonly first?: string;
}

export class Pool {
  readonly threads: number;
  /** The kernels on the caller's thread, for what is not worth a job. */
  readonly kernels: Kernels;
  readonly #heap: Heap;
  readonly #blas: PoolBlas;
  readonly #first: string;
  readonly #options: ThreadOptions;
  #crew: Crew | null = null;
  /** Why it can be used no more. */
  #broken: string | null = null;
  #scratch: Block | null = null;
  #scratchBytes = 0;
  #chunks = 0;
  #numbers = 0;

  constructor({ heap, blas, threads, base, first = '' }: PoolOptions) {
    this.threads = threads;
    this.#heap = heap;
    this.#blas = blas;
    this.#first = first;
    writeConstants(heap.memory);
    this.kernels = kernelsOn(heap.memory);
    const { buffer } = heap.memory;
    this.#options = {
      thread: 0,
      control: new Int32Array(buffer, 0, CONTROL.words),
      tickets: new BigInt64Array(buffer, 4 * CONTROL.tickets, 1),
      states: new Int32Array(new SharedArrayBuffer(4 * threads)),
      starts: new Int32Array(buffer, STARTS_AT, MOST_CHUNKS + 2),
      program: new Float64Array(buffer, PROGRAM_AT, MOST_NUMBERS),
      kernels: [() => {}, ...KERNEL_NAMES.map((name) => this.kernels[name])],
      sgemm: blas.sgemm,
      base,
    };
  }

  /** Native address of a place in the memory. */
  native(place: number): number {
    return this.#options.base + place;
  }

  /** Makes sure that every thread has so many bytes of scratch in the jobs to come. A place in it is given as `inScratch(offset)`. */
  reserveScratch(bytes: number): void {
    if (bytes <= this.#scratchBytes) return;
    const each = Math.ceil(bytes / 4096) * 4096;
    if (this.#scratch) this.#heap.free(this.#scratch);
    this.#scratch = this.#heap.takeScratch(each * this.threads);
    this.#scratchBytes = this.#scratch ? each : 0;
    if (!this.#scratch) throw outOfMemory(each * this.threads, this.#heap.used);
    this.#options.control[CONTROL.scratch] = this.#scratch.address;
    this.#options.control[CONTROL.scratchBytes] = each;
  }

  /** Where a thread's scratch begins in the memory. */
  scratchOf(thread: number): number {
    return (this.#scratch?.address ?? 0) + thread * this.#scratchBytes;
  }

  /** Adds a call to the current chunk. */
  call(name: KernelName, ...args: number[]): void {
    this.#write(numberOf.get(name)!, args);
  }

  /**
   * Adds c = alpha·op(a)·op(b) + beta·c, row by row, to the current chunk: op(a) [m, k], op(b) [k, n]; addresses are native, or in scratch;
   * lda, ldb and ldc are the numbers from one stored row to the next.
   */
  gemm(
    [transposeA, transposeB]: readonly [boolean, boolean],
    [m, n, k]: readonly [number, number, number],
    alpha: number,
    [a, lda]: readonly [number, number],
    [b, ldb]: readonly [number, number],
    beta: number,
    [c, ldc]: readonly [number, number],
  ): void {
    const [ta, tb] = [transposeA ? TRANSPOSE : NO_TRANSPOSE, transposeB ? TRANSPOSE : NO_TRANSPOSE];
    this.#write(GEMM, [
      ROW_MAJOR,
      ta,
      tb,
      m,
      n,
      k,
      alpha,
      a,
      Math.max(1, lda),
      b,
      Math.max(1, ldb),
      beta,
      c,
      Math.max(1, ldc),
    ]);
  }

  #write(called: number, args: readonly number[]): void {
    const { program } = this.#options;
    const { length } = args;
    if (this.#numbers + 2 + length > MOST_NUMBERS) throw new Error('internal: a chunk with too many calls');
    let at = this.#numbers;
    program[at++] = called;
    program[at++] = length;
    for (let i = 0; i < length; i++) program[at++] = args[i]!;
    this.#numbers = at;
  }

  /** Ends the current chunk. */
  endChunk(): void {
    const { starts } = this.#options;
    starts[++this.#chunks] = this.#numbers;
    // Room for one more chunk of usual length must be left.
    if (this.#chunks >= MOST_CHUNKS || this.#numbers > MOST_NUMBERS / 2) this.run();
  }

  /** Forgets what was written of a job: whoever wrote it failed in its middle. */
  forget(): void {
    this.#chunks = 0;
    this.#numbers = 0;
  }

  /**
   * Runs the job that has been written, and returns when all of it is done.
   * @throws BlasError when a thread ended at work, then and from then on: what it was writing, it may have written in part.
   */
  run(): void {
    const { control } = this.#options;
    const chunks = this.#chunks;
    this.forget();
    if (chunks === 0) return;
    if (this.#broken !== null) throw new BlasError(this.#broken);
    const shared = chunks > 1 && this.threads > 1;
    if (shared) this.#crew ??= this.#start();
    publish(this.#options, chunks);
    if (shared) {
      Atomics.add(control, CONTROL.generation, 1);
      Atomics.notify(control, CONTROL.generation, chunks - 1);
    }
    const error = runChunks(this.#options);
    this.#waitFor(chunks);
    if (control[CONTROL.failed] !== 0) {
      control[CONTROL.failed] = 0;
      throw new Error(`internal: a kernel failed: ${error ?? 'on another thread'}`);
    }
  }

  /** After long spinning the core is left to a thread that may want it, as another program may have taken its own. */
  #waitFor(chunks: number): void {
    const { control } = this.#options;
    for (let spins = 0; ; spins++) {
      const done = Atomics.load(control, CONTROL.done);
      if (done === chunks) return;
      if (done > chunks) throw new Error(`internal: ${done} chunks were run of ${chunks}`);
      if (Atomics.load(control, CONTROL.died) !== 0) this.#break();
      if (spins > SPINS) Atomics.wait(control, CONTROL.done, done, 0.1);
    }
  }

  #break(): never {
    const thread = Atomics.load(this.#options.control, CONTROL.died);
    const reason = this.#crew?.ended().find((ended) => ended.thread === thread)?.reason ?? 'no reason is known';
    this.#broken = `backend blas: thread ${thread} ended at work (${reason}); results may be written in part, so nothing more is computed here: start the program again, from its last checkpoint`;
    throw new BlasError(this.#broken);
  }

  /** Ends the other threads. */
  dispose(): void {
    this.#crew?.dispose();
    this.#crew = null;
  }

  #start(): Crew {
    const { control, states, base } = this.#options;
    const layout = {
      words: CONTROL.words,
      ticketsAt: 4 * CONTROL.tickets,
      startsAt: STARTS_AT,
      starts: MOST_CHUNKS + 2,
      programAt: PROGRAM_AT,
      program: MOST_NUMBERS,
    };
    const data = {
      memory: this.#heap.memory,
      module: kernelModule(),
      names: KERNEL_NAMES,
      blas: this.#blas.declaration,
      koffi: createRequire(import.meta.url).resolve('koffi'),
      base,
      states,
      layout,
    };
    return new Crew(this.threads, threadText(this.#first), data, { control, states });
  }
}

/** A place in the scratch of whichever thread makes the call. */
export const inScratch = (offset: number): number => IN_SCRATCH + offset;

export function outOfMemory(bytes: number, used: number): BlasError {
  const mib = (n: number) => `${Math.round(n / 2 ** 20)} MiB`;
  return new BlasError(
    `backend blas: ${mib(bytes)} of memory are wanted and ${mib(used)} of at most 4096 are in use; ` +
      'dispose tensors that are not needed, or take fewer tokens at a time',
  );
}
