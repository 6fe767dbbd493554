/**
 * @file What a thread does with a job: takes chunks as long as there are any and makes the calls of each.
 *
 * A job lies in shared memory: words that count, where each chunk begins, and the chunks as numbers, call after call: what is called, how
 * many arguments, the arguments. The same function runs on the backend's thread and, as text, on the others.
 *
 * **Who may run a chunk.** One word of 64 bits, `tickets`, says which job there is and how many of its chunks nobody has taken: (epoch << 16) | left.
 * The epoch is raised with each job and does not come again in 2⁴⁷ jobs, some decades. A chunk is taken by one compare-exchange of the word as it
 * was seen by the same word with one less left. So:
 *
 * 1. Each value of the word with left > 0 is replaced once, by a taker: `publish` writes the word only when left is 0 (see 3). Hence each chunk of a job is
 *    taken exactly once, and whoever was held up between looking and taking, for however many jobs, fails, as the epoch that he saw is gone.
 * 2. A taker adds 1 to `done` after his chunk and never else, so `done` counts the chunks of this job that have been run, and no other's: between
 *    taking and adding, the job cannot end, and no other begins.
 * 3. `run` returns when `done` has reached the number of chunks, when each has been taken and run. Only then does the backend's thread write the
 *    next job, its number of chunks, 0 to `done`, and last the word. No thread reads any of these unless it has taken a chunk (the number of chunks
 *    too is read after taking), so none reads what is being written.
 *
 * **Why it sees what it should.** JavaScript's atomics are sequentially consistent: one that reads what another wrote comes after it, with all that
 * the writer did before. `publish` writes the word after the job, and each compare-exchange reads either that or what another made of it, so the job
 * is visible to who takes. Each addition to `done` reads the one before it, and the backend's thread reads the last: all results are visible to it.
 * Between two jobs a thread only looks at `tickets` and waits on `generation`, which is raised after the word is written: who missed the word finds
 * the generation another than he knew and does not sleep.
 */

/** The words of `control`. Its bytes from 32 on are `tickets`. */
export const CONTROL = {
  /** Raised for each job: what idle threads wait on. */
  generation: 0,
  /** How many chunks the job has. */
  chunks: 2,
  /** Chunks that have been run. */
  done: 3,
  /** Where scratch of the first thread begins, in bytes, and how much each has. */
  scratch: 4,
  scratchBytes: 5,
  /** A call failed. */
  failed: 6,
  /** The number of a thread that ended while it was at work; 0 is none. */
  died: 7,
  /** Where `tickets` is, in words. */
  tickets: 8,
  words: 16,
} as const;

/** Of each thread in `states`: it waits, it may hold a chunk, it is no more. */
export const STATE = { idle: 0, working: 1, ended: 2 } as const;

/** More chunks than `tickets` can count are not in a job. */
export const MOST_CHUNKS = 2 ** 14;

/** Calls the BLAS; every other number is a place in the list of kernels. */
export const GEMM = 0;

/** Added to an argument that is a place in the scratch of whichever thread makes the call; so far below 0 that nothing else is. */
export const IN_SCRATCH = -(2 ** 50);

/** What threads share. */
export interface Job {
  readonly control: Int32Array;
  /** One number: (epoch << 16) | chunks that nobody has taken. */
  readonly tickets: BigInt64Array;
  /** By thread. */
  readonly states: Int32Array;
  /** Index into `program` of each chunk, and of the end of the last. */
  readonly starts: Int32Array;
  readonly program: Float64Array;
}

export interface ThreadOptions extends Job {
  /** 0 is the backend's own. */
  readonly thread: number;
  /** By number; the first is not used. */
  readonly kernels: readonly ((...args: number[]) => void)[];
  readonly sgemm: (...args: number[]) => void;
  /** Native address of the memory's first byte. */
  readonly base: number;
}

/** Lets threads take the chunks that have been written. All of the job before must have been run. */
export function publish({ control, tickets }: Pick<Job, 'control' | 'tickets'>, chunks: number): void {
  Atomics.store(control, CONTROL.chunks, chunks);
  Atomics.store(control, CONTROL.done, 0);
  const epoch = Atomics.load(tickets, 0) >> 16n;
  Atomics.store(tickets, 0, ((epoch + 1n) << 16n) | BigInt(chunks));
}

/**
 * Takes and runs chunks until none is left. Needs nothing from around it, as other threads get its text.
 * @returns what an error said, or null.
 */
export function runChunks(options: ThreadOptions): string | null {
  const { thread, control, tickets, states, starts, program, kernels, sgemm, base } = options;
  let error: string | null = null;
  // Before the first is taken: who ends from here on may have ended with a chunk.
  Atomics.store(states, thread, 1);
  for (;;) {
    const seen = Atomics.load(tickets, 0);
    const left = Number(seen & 0xffffn);
    if (left === 0) {
      Atomics.store(states, thread, 0);
      return error;
    }
    if (Atomics.compareExchange(tickets, 0, seen, seen - 1n) !== seen) continue;
    const chunk = Atomics.load(control, 2) - left;
    try {
      const scratch = (control[4]! >>> 0) + thread * (control[5]! >>> 0);
      const end = starts[chunk + 1]!;
      for (let at = starts[chunk]!; at < end; ) {
        const called = program[at]!;
        const count = program[at + 1]!;
        const args = new Array<number>(count);
        for (let i = 0; i < count; i++) {
          const value = program[at + 2 + i]!;
          args[i] = value < -(2 ** 49) ? value + 2 ** 50 + scratch + (called === 0 ? base : 0) : value;
        }
        if (called === 0) sgemm.apply(null, args);
        else kernels[called]!.apply(null, args);
        at += 2 + count;
      }
    } catch (caught) {
      error = String(caught);
      Atomics.store(control, 6, 1);
    }
    Atomics.add(control, 3, 1);
  }
}
