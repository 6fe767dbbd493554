/**
 * @file Files of the cache: written whole or not at all, and trusted only when they are what was written.
 *
 * Processes start together on one GPU with one empty cache, are killed while they write, and disks lose what was not synced. So a file begins with the
 * SHA-256 of the rest, and one that does not agree with it is as good as none: what it held is made anew.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

const DIGEST_BYTES = 32;

const digestOf = (contents: Uint8Array): Buffer => createHash('sha256').update(contents).digest();

/** What was written to `path`, or null where there is nothing or something else. */
export function readCached(path: string): Buffer | null {
  try {
    const file = readFileSync(path);
    const contents = file.subarray(DIGEST_BYTES);
    // A copy, as the driver wants an image at an address that is aligned.
    return digestOf(contents).equals(file.subarray(0, DIGEST_BYTES)) ? Buffer.from(contents) : null;
  } catch {
    return null;
  }
}

/** Written beside and renamed, as another process may be looking. A cache that cannot be written is done without. */
export function writeCached(path: string, contents: Uint8Array): void {
  const beside = `${path}.${process.pid}.${randomUUID()}`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(beside, Buffer.concat([digestOf(contents), contents]));
    renameSync(beside, path);
  } catch {
    try {
      rmSync(beside, { force: true });
    } catch {
      // no folder in which it could lie
    }
  }
}
