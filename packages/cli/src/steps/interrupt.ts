/** @file Ctrl-C while steps are running: the step is finished, a checkpoint written; a second one ends the process at once. */
import type { Output } from '../terminal/output.js';

/**
 * Aborts `controller`, with the signal as its reason, at the first interrupt during `work`; a second one ends the process. A terminal that is
 * closed (SIGHUP) interrupts as Ctrl-C does.
 * @param isLost of several ranks: whether a run ends anyway, as one of them is gone.
 */
export async function untilInterrupted<T>(
  output: Output,
  controller: AbortController,
  work: () => Promise<T>,
  isLost: (() => boolean) | null = null,
): Promise<T> {
  const note = (signal: string) =>
    `\n${signal === 'SIGINT' ? 'Ctrl-C' : signal}: finishing this step, then writing a checkpoint; once more ends at once`;
  const forget = output.io.onInterrupt(
    (signal, again = false, said = false) => {
      if (again) {
        output.io.endNow?.(signal);
        return;
      }
      controller.abort(signal);
      if (said) return;
      if (isLost === null) output.note(note(signal));
      // A launcher ends the ranks by a signal when one of them is gone, which is news of its own.
      else setTimeout(() => isLost() || output.note(note(signal)), 500).unref();
    },
    output.quiet || isLost !== null ? undefined : note,
  );
  try {
    return await work();
  } finally {
    forget();
  }
}
