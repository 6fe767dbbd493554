/**
 * @file What a thread does with a job: takes chunks as long as there are any and makes the calls of each. The design is that of the threads of
 * `@spft/backend-blas`, which stands alone, so that neither takes the other's code.
 *
 * A job lies in shared memory: words that count, where each chunk begins, and the chunks as numbers, call after call: which kernel, how many
 * arguments, the arguments. The same function runs on the backend's thread and, as text, on the others.
 *
 * **Who may run a chunk.** One word of 64 bits, `tickets`, says which job there is and how many of its chunks nobody has taken: (epoch << 16) | left.
 * The epoch is raised with each job. A chunk is taken by one compare-exchange of the word as it was seen by the same word with one less left. The word
 * is written anew only when all chunks have been taken and run, so each is taken once, and whoever was held up between looking and taking fails, as the
 * epoch that he saw is gone. A taker adds 1 to `done` after his chunk: `run` returns when all have. No thread reads a job unless it has taken a chunk
 * of it, so none reads what is being written. JavaScript's atomics are sequentially consistent: who reads what another wrote sees all that was
 * done before.
 */

/** The words of `control`. */
export const CONTROL = {
  /** Raised for each job: what idle threads wait on. */
  generation: 0,
  /** How many chunks the job has. */
  chunks: 1,
  /** Chunks that have been run. */
  done: 2,
  /** Where scratch of the first thread begins, in bytes, and how much each has. */
  scratch: 3,
  scratchBytes: 4,
  /** A call failed. */
  failed: 5,
  /** Other threads that have begun to look for jobs. */
  started: 6,
  words: 8,
} as const;

/** More chunks than `tickets` can count are not in a job. */
export const MOST_CHUNKS = 2 ** 12;
/** Numbers of a job's program at most. */
export const MOST_NUMBERS = 2 ** 17;

/** Added to an argument that is a place in the scratch of whichever thread makes the call; so far below 0 that nothing else is. */
export const IN_SCRATCH = -(2 ** 50);

/** A job as threads share it, in views of one memory. */
export interface Job {
  readonly control: Int32Array;
  /** One number: (epoch << 16) | chunks that nobody has taken. */
  readonly tickets: BigInt64Array;
  /** Index into `program` of each chunk, and of the end of the last. */
  readonly starts: Int32Array;
  readonly program: Float64Array;
}

export interface ThreadOptions extends Job {
  /** 0 is the backend's own. */
  readonly thread: number;
  /** By number. */
  readonly kernels: readonly ((...args: number[]) => void)[];
}

const BYTES = { tickets: 4 * CONTROL.words, starts: 4 * CONTROL.words + 8, program: 0 };
BYTES.program = BYTES.starts + 4 * (MOST_CHUNKS + 2);

/** Room for a job. */
export const newJobMemory = (): SharedArrayBuffer => new SharedArrayBuffer(BYTES.program + 8 * MOST_NUMBERS);

/** The views of a job's memory; as text on other threads, so with numbers in the place of names. */
export const jobOf = (memory: SharedArrayBuffer): Job => ({
  control: new Int32Array(memory, 0, CONTROL.words),
  tickets: new BigInt64Array(memory, BYTES.tickets, 1),
  starts: new Int32Array(memory, BYTES.starts, MOST_CHUNKS + 2),
  program: new Float64Array(memory, BYTES.program, MOST_NUMBERS),
});

/** Lets threads take the chunks that have been written. All of the job before must have been run. */
export function publish({ control, tickets }: Job, chunks: number): void {
  Atomics.store(control, CONTROL.chunks, chunks);
  Atomics.store(control, CONTROL.done, 0);
  const epoch = Atomics.load(tickets, 0) >> 16n;
  Atomics.store(tickets, 0, ((epoch + 1n) << 16n) | BigInt(chunks));
}

/**
 * Takes and runs chunks until none is left. Needs nothing from around it, as other threads get its text: the words of `control` are numbers here.
 * @returns what an error said, or null.
 */
export function runChunks(options: ThreadOptions): string | null {
  const { thread, control, tickets, starts, program, kernels } = options;
  let error: string | null = null;
  for (;;) {
    const seen = Atomics.load(tickets, 0);
    const left = Number(seen & 0xffffn);
    if (left === 0) return error;
    if (Atomics.compareExchange(tickets, 0, seen, seen - 1n) !== seen) continue;
    const chunk = Atomics.load(control, 1) - left;
    try {
      const scratch = (control[3]! >>> 0) + thread * (control[4]! >>> 0);
      const end = starts[chunk + 1]!;
      for (let at = starts[chunk]!; at < end; ) {
        const called = program[at]!;
        const count = program[at + 1]!;
        const args = new Array<number>(count);
        for (let i = 0; i < count; i++) {
          const value = program[at + 2 + i]!;
          args[i] = value < -(2 ** 49) ? value + 2 ** 50 + scratch : value;
        }
        kernels[called]!.apply(null, args);
        at += 2 + count;
      }
    } catch (caught) {
      error = String(caught);
      Atomics.store(control, 5, 1);
    }
    Atomics.add(control, 2, 1);
    Atomics.notify(control, 2);
  }
}
