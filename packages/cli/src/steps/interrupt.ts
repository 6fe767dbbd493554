/** @file Ctrl-C while steps are running: the step is finished, a checkpoint written; a second one ends the process at once. */
import type { Output } from '../terminal/output.js';

/** Aborts `controller` at the first interrupt during `work`, and lets a second one have its usual effect. */
export async function untilInterrupted<T>(
  output: Output,
  controller: AbortController,
  work: () => Promise<T>,
): Promise<T> {
  const forget = output.io.onInterrupt((signal) => {
    forget();
    output.note(
      `\n${signal === 'SIGINT' ? 'Ctrl-C' : signal}: finishing this step, then writing a checkpoint; once more ends at once`,
    );
    controller.abort(signal);
  });
  try {
    return await work();
  } finally {
    forget();
  }
}
