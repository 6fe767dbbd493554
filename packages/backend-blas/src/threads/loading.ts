/**
 * @file Threads that load native code are not ended meanwhile.
 *
 * Node aborts the whole process, with nothing to catch, where a thread is stopped while it loads a native module: a short run that ended just after its first
 * job exited with 134 though all had been computed. So each thread says when it begins to load and when it has, and who ends the threads, or the process,
 * waits for those in between and keeps the others from beginning.
 */

/** Of each thread in `loads`: it has not begun, it loads, it has loaded, it must not begin. */
const LOAD = { before: 0, now: 1, done: 2, never: 3 } as const;

/** Milliseconds after which a thread that loads is waited for no more. */
const LONGEST = 10_000;

/** JavaScript for a thread that runs `load`, with `thread` and `loads` at hand. */
export const whileLoading = (load: string): string => `
if (Atomics.compareExchange(loads, thread, ${LOAD.before}, ${LOAD.now}) !== ${LOAD.before}) process.exit(0);
try {
  ${load}
} finally {
  Atomics.store(loads, thread, ${LOAD.done});
  Atomics.notify(loads, thread);
}`;

/** Returns when no thread loads, and none will. */
export function endLoading(loads: Int32Array): void {
  for (let thread = 1; thread < loads.length; thread++) {
    if (Atomics.compareExchange(loads, thread, LOAD.before, LOAD.never) === LOAD.now)
      Atomics.wait(loads, thread, LOAD.now, LONGEST);
  }
}
