/** @file What a command says: results to stdout; progress, notes and errors to stderr, so that results can be piped. */
import pc from 'picocolors';
import type { CliIo } from './io.js';
import { type Status, statusLine } from './status-line.js';

export class Output {
  /** Of results. */
  readonly colors: ReturnType<typeof pc.createColors>;
  readonly #colorsOfNotes: ReturnType<typeof pc.createColors>;

  constructor(
    readonly io: CliIo,
    /** No progress and no notes. */
    readonly quiet = false,
  ) {
    this.colors = pc.createColors(hasColors(io, io.stdout.isTTY));
    this.#colorsOfNotes = pc.createColors(hasColors(io, io.stderr.isTTY));
  }

  /** A result. */
  print(text: string): void {
    this.io.stdout.write(`${text}\n`);
  }

  /** What is going on. */
  note(text: string): void {
    if (!this.quiet) this.io.stderr.write(`${text}\n`);
  }

  warn(text: string): void {
    this.io.stderr.write(`${this.#colorsOfNotes.yellow('warning:')} ${text}\n`);
  }

  error(text: string): void {
    this.io.stderr.write(`${this.#colorsOfNotes.red('error:')} ${text}\n`);
  }

  /** A task whose progress is shown: `label  12/40`; call its `done` or `fail`. */
  task(label: string): Status {
    return statusLine(label, this.quiet ? null : this.io.stderr);
  }
}

/** NO_COLOR (no-color.org) and FORCE_COLOR before what the stream is. */
function hasColors({ env }: CliIo, isTTY = false): boolean {
  if (env.NO_COLOR) return false;
  return env.FORCE_COLOR ? env.FORCE_COLOR !== '0' : isTTY && env.TERM !== 'dumb';
}
