/**
 * @file That each chunk of each job is run once, however threads are held up: every place at which a thread can lose its core is forced in turn, by
 * Atomics that let others go on before they do what they were called for.
 */
import { describe, expect, it } from 'vitest';
import { CONTROL, type Job, publish, runChunks, type ThreadOptions } from './interpreter.js';

type Run = (options: ThreadOptions) => string | null;

/** `run` as it is, with an `Atomics` of which `before` is told each use. */
function held(run: Run, before: () => void): Run {
  const atomics = Object.fromEntries(
    (['load', 'store', 'add', 'compareExchange'] as const).map((name) => [
      name,
      (...args: unknown[]) => {
        before();
        return (Atomics[name] as (...args: unknown[]) => unknown)(...args);
      },
    ]),
  );
  return new Function('Atomics', `return ${run.toString()}`)(atomics) as Run;
}

/** Jobs of the given numbers of chunks, one after the other, and how often each chunk of each was run. */
class Jobs {
  readonly #counts: readonly number[];
  readonly ran: number[][];
  readonly job: Job;
  #current = -1;

  constructor(counts: readonly number[]) {
    this.#counts = counts;
    this.ran = counts.map((count) => new Array<number>(count).fill(0));
    const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL.words));
    this.job = {
      control,
      tickets: new BigInt64Array(control.buffer, 4 * CONTROL.tickets, 1),
      states: new Int32Array(new SharedArrayBuffer(16)),
      starts: new Int32Array(8),
      program: new Float64Array(64),
    };
  }

  options(thread: number): ThreadOptions {
    const mark = (job: number, chunk: number) => {
      this.ran[job]![chunk]!++;
    };
    return { ...this.job, thread, kernels: [() => {}, mark as () => void], sgemm: () => {}, base: 0 };
  }

  /** Writes the next job, if the last one is done as the pool would think; what the pool does. */
  next(): boolean {
    const { control, starts, program } = this.job;
    if (this.#current >= 0 && control[CONTROL.done]! < this.#counts[this.#current]!) return false;
    if (this.#current + 1 >= this.#counts.length) return false;
    this.#current++;
    const count = this.#counts[this.#current]!;
    for (let chunk = 0; chunk < count; chunk++) {
      program.set([1, 2, this.#current, chunk], 4 * chunk);
      starts[chunk + 1] = 4 * (chunk + 1);
    }
    publish(this.job, count);
    return true;
  }

  /** Does all that is left, without being held up. */
  finish(run: Run, thread: number): void {
    run(this.options(thread));
    while (this.next()) run(this.options(thread));
  }
}

/** Holds a thread up before its atomic operation `at`, for `meanwhile`. */
function once(at: number, meanwhile: () => void): { before: () => void; readonly reached: boolean } {
  let operations = 0;
  let [inside, reached] = [false, false];
  return {
    before: () => {
      if (inside || operations++ !== at) return;
      [inside, reached] = [true, true];
      meanwhile();
      inside = false;
    },
    get reached() {
      return reached;
    },
  };
}

const COUNTS = [
  [1, 1, 1],
  [1, 3, 2],
  [2, 2, 2],
  [2, 3, 1],
  [3, 1, 3],
  [3, 3, 3],
];

/** What went wrong when two threads were held up in every pair of places, for a number of jobs. */
function faults(run: Run): string[] {
  const found: string[] = [];
  const check = (title: string, { ran, job }: Jobs, counts: readonly number[]) => {
    if (ran.some((times) => times.some((n) => n !== 1))) found.push(`${title}: ${JSON.stringify(ran)}`);
    if (job.control[CONTROL.done] !== counts.at(-1)) found.push(`${title}: done is ${job.control[CONTROL.done]}`);
  };
  for (const counts of COUNTS) {
    for (let first = 0; ; first++) {
      let reached = false;
      for (let second = -1; second < 14; second++) {
        const jobs = new Jobs(counts);
        jobs.next();
        const others = () => jobs.finish(run, 0);
        const inner = once(second, others);
        // A second thread is held up while the first one is, and a third does what can be done.
        const outer = once(first, () => {
          if (second >= 0) held(run, inner.before)(jobs.options(2));
          others();
        });
        held(run, outer.before)(jobs.options(1));
        jobs.finish(run, 0);
        reached ||= outer.reached;
        check(`${counts} chunks, held up at ${first} and ${second}`, jobs, counts);
      }
      if (!reached) break;
    }
  }
  return found;
}

describe('runChunks()', () => {
  it('runs each chunk once, wherever threads are held up while others end this job and do the next ones', () => {
    expect(faults(runChunks)).toEqual([]);
  });

  it('would be found out if looking and taking were two steps', () => {
    const hasty: Run = ({ control, tickets, starts, program, kernels }) => {
      for (;;) {
        const seen = Atomics.load(tickets, 0);
        const left = Number(seen & 0xffffn);
        if (left === 0) return null;
        if (Atomics.load(tickets, 0) !== seen) continue;
        Atomics.store(tickets, 0, seen - 1n);
        const at = starts[Math.max(0, Atomics.load(control, 2) - left)]!;
        kernels[program[at]!]!(program[at + 2]!, program[at + 3]!);
        Atomics.add(control, 3, 1);
      }
    };
    expect(faults(hasty)).not.toEqual([]);
  });

  it('says what a kernel threw, and goes on with the other chunks', () => {
    const jobs = new Jobs([3]);
    jobs.next();
    const options = jobs.options(0);
    const throws = (job: number, chunk: number) => {
      if (chunk === 1) throw new RangeError('out of bounds');
      options.kernels[1]!(job, chunk);
    };
    expect(runChunks({ ...options, kernels: [() => {}, throws as () => void] })).toBe('RangeError: out of bounds');
    expect(jobs.ran).toEqual([[1, 0, 1]]);
    expect([jobs.job.control[CONTROL.failed], jobs.job.control[CONTROL.done]]).toEqual([1, 3]);
  });
});
