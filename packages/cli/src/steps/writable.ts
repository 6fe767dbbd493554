/** @file Whether a place can be written, told before anything is computed for it. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { CliError, refusalReason } from '../errors.js';

/**
 * Looks at a file or directory that is to be written, or at the nearest directory above it that is there; writes nothing.
 * @param what it is for, as the message calls it: `output_dir`.
 * @param advice how to name another.
 * @throws CliError when the system will not let it be written.
 */
export async function requireWritable(path: string, what: string, advice: string): Promise<void> {
  for (let place = resolve(path); ; place = dirname(place)) {
    try {
      await access(place, constants.W_OK);
      return;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && dirname(place) !== place) continue;
      const where = place === resolve(path) ? '' : ` (${place})`;
      throw new CliError(`${what} ${path} cannot be written: ${refusalReason(error)}${where}; ${advice}`, {
        cause: error,
      });
    }
  }
}
