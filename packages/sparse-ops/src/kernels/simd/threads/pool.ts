/**
 * @file The threads that run SIMD kernels on the backend's memory, the caller's among them.
 *
 * A job is a list of chunks that depend on nothing of each other; each is a list of calls, in order. Whoever is free takes the next chunk, so a thread that
 * starts late or is kept busy by something else costs no more than its part. Where the memory is the backend's alone there are no others, and a call
 * is made at once.
 */

import { ThreadsError } from './errors.js';
import type { Job, ThreadOptions } from './interpreter.js';
import {
  CONTROL,
  IN_SCRATCH,
  jobOf,
  MOST_CHUNKS,
  MOST_NUMBERS,
  newJobMemory,
  publish,
  runChunks,
} from './interpreter.js';
import { type StartedThread, startThread } from './workers.js';

/**
 * Milliseconds for which a thread looks for the next job, or for the end of this one, before it sleeps. Jobs of a step follow each other closely, and to
 * be woken takes a tenth to half of one in a virtual machine; but where other programs want the core, whoever only looks keeps it from those that have work.
 */
const PATIENCE = 1;

/** How often it looks between two looks at the clock. */
const LOOKS = 256;

/** Milliseconds of a wait for other threads, and how many such waits pass without any chunk being done before they are given up: two minutes. */
const WAIT = 100;
const MOST_WAITS = 1200;

type Kernel = (...args: number[]) => void;

/**
 * The text of another thread: waits for a job, works, waits again.
 * @param first what it does before, which may change its `options`.
 */
const textOf = (first: string): string => `(data) => {
  const { thread, memory, module, names, layout } = data;
  const exported = new WebAssembly.Instance(module, { env: { memory } }).exports;
  const options = {
    thread,
    control: new Int32Array(data.job, 0, layout.words),
    tickets: new BigInt64Array(data.job, layout.tickets, 1),
    starts: new Int32Array(data.job, layout.starts, layout.chunks),
    program: new Float64Array(data.job, layout.program),
    kernels: names.map((name) => exported[name]),
  };
  const { control } = options;
  const run = ${runChunks.toString()};
  ${first}
  Atomics.add(control, ${CONTROL.started}, 1);
  for (let seen = 0; ; ) {
    for (const until = performance.now() + ${PATIENCE}; Atomics.load(control, 0) === seen && performance.now() < until; )
      for (let look = 0; look < ${LOOKS} && Atomics.load(control, 0) === seen; look++);
    Atomics.wait(control, 0, seen);
    seen = Atomics.load(control, 0);
    run(options);
  }
}`;

export interface PoolOptions<Name extends string> {
  /** A `WebAssembly.Module` and a `WebAssembly.Memory`; declared as objects, as the types of Node alone have no such names. */
  readonly module: object;
  readonly memory: object;
  /** The module on the memory. */
  readonly kernels: Readonly<Record<Name, Kernel>>;
  /** What may be called in jobs. */
  readonly names: readonly Name[];
  /** This one included. More than one only where the memory is shared. */
  readonly threads: number;
  /** Room in the memory, which is kept; 0 where there is none. */
  allocate(bytes: number): number;
  free(place: number): void;
  /** JavaScript that each other thread runs before its first job; for tests. */
  readonly first?: string;
  /** How many waits of 0.1 s without progress there may be; for tests. */
  readonly waits?: number;
}

export class ThreadPool<Name extends string> {
  readonly threads: number;
  readonly #options: PoolOptions<Name>;
  readonly #own: ThreadOptions | null;
  readonly #job: SharedArrayBuffer | null;
  readonly #numbers: ReadonlyMap<Name, number>;
  #crew: StartedThread[] | null = null;
  #scratch = 0;
  #scratchBytes = 0;
  #chunks = 0;
  #length = 0;
  #broken: string | null = null;

  constructor(options: PoolOptions<Name>) {
    this.#options = options;
    this.threads = options.threads;
    this.#numbers = new Map(options.names.map((name, n) => [name, n]));
    this.#job = options.threads > 1 ? newJobMemory() : null;
    this.#own = this.#job && {
      thread: 0,
      kernels: options.names.map((name) => options.kernels[name]),
      ...jobOf(this.#job),
    };
  }

  /**
   * Makes sure that every thread has so many bytes of scratch in the jobs to come. A place in it is given as `inScratch(offset)`.
   * @throws RangeError when there is no room.
   */
  reserve(bytes: number): void {
    if (bytes <= this.#scratchBytes) return;
    const each = Math.ceil(bytes / 64) * 64;
    if (this.#scratch) this.#options.free(this.#scratch);
    this.#scratchBytes = 0;
    this.#scratch = this.#options.allocate(each * this.threads) >>> 0;
    if (this.#scratch === 0) throw new RangeError(`no room for ${each * this.threads} bytes of scratch`);
    this.#scratchBytes = each;
    if (!this.#own) return;
    this.#own.control[CONTROL.scratch] = this.#scratch;
    this.#own.control[CONTROL.scratchBytes] = each;
  }

  /** Adds a call to the current chunk. */
  call(name: Name, ...args: readonly number[]): void {
    if (!this.#own) {
      const placed = args.map((value) => (value < IN_SCRATCH / 2 ? value - IN_SCRATCH + this.#scratch : value));
      this.#options.kernels[name](...placed);
      return;
    }
    const { program } = this.#own;
    if (this.#length + 2 + args.length > MOST_NUMBERS) throw new Error('internal: a chunk with too many calls');
    program[this.#length++] = this.#numbers.get(name)!;
    program[this.#length++] = args.length;
    for (const value of args) program[this.#length++] = value;
  }

  /** Ends the current chunk. A job that is full is run. */
  endChunk(): void {
    if (!this.#own) return;
    this.#own.starts[++this.#chunks] = this.#length;
    if (this.#chunks >= MOST_CHUNKS || this.#length > MOST_NUMBERS / 2) this.run();
  }

  /** Forgets what was written of a job: whoever wrote it failed in its middle. */
  forget(): void {
    this.#chunks = 0;
    this.#length = 0;
  }

  /**
   * Runs the job that has been written, and returns when all of it is done.
   * @throws ThreadsError when another thread does not come back, then and from then on: what it was writing, it may have written in part.
   */
  run(): void {
    const chunks = this.#chunks;
    this.forget();
    if (!this.#own || chunks === 0) return;
    if (this.#broken !== null) throw new ThreadsError(this.#broken);
    const { control } = this.#own;
    publish(this.#own, chunks);
    if (chunks > 1) {
      this.#crew ??= this.#start();
      Atomics.add(control, CONTROL.generation, 1);
      Atomics.notify(control, CONTROL.generation, chunks - 1);
    }
    const error = runChunks(this.#own);
    this.#waitFor(this.#own, chunks);
    if (control[CONTROL.failed] === 0) return;
    control[CONTROL.failed] = 0;
    throw new Error(`internal: a kernel failed: ${error ?? 'on another thread'}`);
  }

  #waitFor({ control }: Job, chunks: number): void {
    const isDone = () => Atomics.load(control, CONTROL.done) === chunks;
    for (const until = performance.now() + PATIENCE; !isDone() && performance.now() < until; )
      for (let look = 0; look < LOOKS && !isDone(); look++);
    for (let waits = 0, before = -1; ; waits++) {
      const done = Atomics.load(control, CONTROL.done);
      if (done === chunks) return;
      if (done !== before) [before, waits] = [done, 0];
      if (waits > (this.#options.waits ?? MOST_WAITS)) this.#break();
      Atomics.wait(control, CONTROL.done, done, WAIT);
    }
  }

  #break(): never {
    this.#broken =
      'wasm: a thread that had work ended, or is stuck; results may be written in part, so nothing more is computed here: start the program again, ' +
      'from its last checkpoint';
    throw new ThreadsError(this.#broken);
  }

  /** Ends the other threads; they are started again when wanted. */
  dispose(): void {
    for (const thread of this.#crew ?? []) thread.end();
    this.#crew = null;
  }

  #start(): StartedThread[] {
    const { module, memory, names, threads } = this.#options;
    const { control, tickets, starts, program } = this.#own!;
    const layout = {
      words: control.length,
      tickets: tickets.byteOffset,
      starts: starts.byteOffset,
      chunks: starts.length,
      program: program.byteOffset,
    };
    const data = { module, memory, names, layout, job: this.#job };
    return Array.from({ length: threads - 1 }, (_, n) =>
      // Without it the work is done all the same, by fewer threads.
      startThread(textOf(this.#options.first ?? ''), { ...data, thread: n + 1 }, (reason) => {
        console.warn(`wasm: thread ${n + 1} of ${threads} ended: ${reason}`);
      }),
    );
  }
}

/** A place in the scratch of whichever thread makes the call. */
export const inScratch = (offset: number): number => IN_SCRATCH + offset;
