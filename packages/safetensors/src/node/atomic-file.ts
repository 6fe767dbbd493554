/**
 * @file A file that is there wholly or not at all: written beside under another name, flushed to the disk, then renamed over the old one.
 */
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeDirectory } from './directory.js';
import { removeLeftovers, temporaryPath } from './leftovers.js';

/**
 * Runs `write` on a new file beside `path`, then puts it in place of `path`. Whatever fails or is killed before, `path` keeps what it had.
 * Makes the directory where there is none, and clears away what killed processes left of the same file.
 * @param check looks at the complete file under its temporary name, before it takes its place.
 */
export async function writeFileAtomically(
  path: string,
  write: (handle: FileHandle) => Promise<void>,
  check?: (temporary: string) => Promise<void>,
): Promise<void> {
  const dir = dirname(path);
  await makeDirectory(dir);
  await removeLeftovers(path);
  const temporary = temporaryPath(path);
  const handle = await open(temporary, 'wx');
  try {
    try {
      await write(handle);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await check?.(temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dir);
}

/**
 * Waits until the entries of a directory are on the disk, so that a rename in it survives a power cut. Windows cannot open directories; there
 * a rename is all that can be had.
 */
export async function syncDirectory(dir: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(dir, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
