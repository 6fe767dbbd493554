/**
 * @file What a thread does with a job: takes chunks as long as there are any and makes the calls of each.
 *
 * A job lies in shared memory: words that count, where each chunk begins, and the chunks as numbers, call after call: what is called, how
 * many arguments, the arguments. The same function runs on the backend's thread and, as text, on the others.
 */

/** The words of `control`. */
export const CONTROL = {
  /** Raised for each job: what idle threads wait on. */
  generation: 0,
  /** The next chunk to be taken; far above their number when there is no job. */
  next: 1,
  chunks: 2,
  /** Chunks that have been run. */
  done: 3,
  /** Where scratch of the first thread begins, in bytes, and how much each has. */
  scratch: 4,
  scratchBytes: 5,
  /** A call failed. */
  failed: 6,
  words: 16,
} as const;

/** Calls the BLAS; every other number is a place in the list of kernels. */
export const GEMM = 0;

/** Added to an argument that is a place in the scratch of whichever thread makes the call; so far below 0 that nothing else is. */
export const IN_SCRATCH = -(2 ** 50);

export interface ThreadOptions {
  /** 0 is the backend's own. */
  readonly thread: number;
  readonly control: Int32Array;
  /** Index into `program` of each chunk, and of the end of the last. */
  readonly starts: Int32Array;
  readonly program: Float64Array;
  /** By number; the first is not used. */
  readonly kernels: readonly ((...args: number[]) => void)[];
  readonly sgemm: (...args: number[]) => void;
  /** Native address of the memory's first byte. */
  readonly base: number;
}

/**
 * Takes and runs chunks until none is left. Needs nothing from around it, as other threads get its text.
 * @returns what an error said, or null.
 */
export function runChunks(options: ThreadOptions): string | null {
  const { thread, control, starts, program, kernels, sgemm, base } = options;
  let error: string | null = null;
  for (;;) {
    const chunk = Atomics.add(control, 1, 1);
    if (chunk >= Atomics.load(control, 2)) return error;
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
