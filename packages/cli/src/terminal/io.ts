/** @file What a command has of the world around it: streams, environment, Ctrl-C. The process's own, or a test's. */
import type { TextOutput } from '@spft/trainer/node';

export interface CliIo {
  /** Results. */
  readonly stdout: TextOutput;
  /** Progress, notes, errors. */
  readonly stderr: TextOutput;
  readonly stdin: AsyncIterable<string | Uint8Array> & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Calls `listener` at Ctrl-C or when the process is asked to end, instead of ending it. @returns a function that takes it back. */
  onInterrupt(listener: (signal: 'SIGINT' | 'SIGTERM') => void): () => void;
}

/** The process's own. */
export function processIo(): CliIo {
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    onInterrupt(listener) {
      const heard = (signal: NodeJS.Signals) => listener(signal as 'SIGINT' | 'SIGTERM');
      process.on('SIGINT', heard).on('SIGTERM', heard);
      return () => void process.off('SIGINT', heard).off('SIGTERM', heard);
    },
  };
}
