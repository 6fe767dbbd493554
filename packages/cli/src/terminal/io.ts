/** @file What a command has of the world around it: streams, environment, Ctrl-C. The process's own, or a test's. */
import type { TextOutput } from '@spft/trainer/node';
import { type InterruptListener, onSignals } from './signals.js';

export interface CliIo {
  /** Results. */
  readonly stdout: TextOutput;
  /** Progress, notes, errors. */
  readonly stderr: TextOutput;
  readonly stdin: AsyncIterable<string | Uint8Array> & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  /**
   * Calls `listener` at Ctrl-C, when the process is asked to end, or when its terminal goes, instead of ending it.
   * @param note what to say at the first one, given the name of the signal; said even where the listener cannot be called yet.
   * @returns a function that takes it back.
   */
  onInterrupt(listener: InterruptListener, note?: (signal: string) => string): () => void;
  /** Ends the process at once, as the signal would have. */
  endNow?(signal: NodeJS.Signals): void;
  /** Calls `listener` when nobody reads the results any more. */
  onReaderGone?(listener: () => void): void;
}

/** The process's own. */
export function processIo(): CliIo {
  outliveReaders();
  return {
    stdout: process.stdout,
    stderr: process.stderr,
    stdin: process.stdin,
    env: process.env,
    onInterrupt: (listener, note) => onSignals(listener, note).forget,
    endNow: (signal) => process.exit(128 + SIGNAL_NUMBERS[signal]!),
    onReaderGone: (listener) => void process.stdout.on('error', (error) => isGone(error) && listener()),
  };
}

/** Numbers of the signals that end a command, as shells count them. */
export const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 };

let outlives = false;

/** A reader that has gone (`2>&1 | head -1`), or a terminal that was closed, ends no run: what it would have read is lost, nothing else. */
function outliveReaders(): void {
  if (outlives) return;
  outlives = true;
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error) => {
      if (!isGone(error)) throw error;
    });
  }
}

/** EIO is what a closed terminal answers. */
const isGone = ({ code }: NodeJS.ErrnoException): boolean =>
  code === 'EPIPE' || code === 'EIO' || code === 'ERR_STREAM_DESTROYED';
