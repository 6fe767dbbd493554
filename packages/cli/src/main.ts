/** @file Runs one command line, in any process. */
import { reportError } from './errors.js';
import { createProgram } from './program.js';
import { type CliIo, processIo } from './terminal/io.js';
import { Output } from './terminal/output.js';

/**
 * @param argv what comes after `spft`.
 * @returns the exit code; nothing is thrown, and the process is not ended.
 */
export async function main(argv: readonly string[], io: CliIo = processIo()): Promise<number> {
  try {
    await createProgram(io).parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    return reportError(error, new Output(io));
  }
}
