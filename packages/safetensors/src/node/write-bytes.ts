/** @file What the writers of weights have in common: all bytes of an array, and what is said of a disk that does not take them. */
import type { FileHandle } from 'node:fs/promises';

/**
 * Writes all of `bytes`. `FileHandle.write` may write less than it was given, and takes at most 2^31 − 1 bytes.
 * @param position where in the file; behind what was written last where it is not said.
 */
export async function writeBytes(handle: FileHandle, bytes: Uint8Array, position?: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const count = Math.min(1024 ** 3, bytes.length - at);
    const { bytesWritten } = await handle.write(bytes, at, count, position === undefined ? null : position + at);
    at += bytesWritten;
  }
}

/**
 * @param fileBytes of the file that {@link writeFileAtomically} was to write.
 * @returns what a system's error means for whoever wanted the file, or null for an error that is not the system's.
 */
export function unwrittenFile(cause: unknown, fileBytes: number): string | null {
  const code = (cause as NodeJS.ErrnoException).code;
  if (!code?.startsWith('E')) return null;
  const problem =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? `needs ${fileBytes} bytes, and the disk is full: make room and write it again`
      : `cannot be written: ${(cause as Error).message}`;
  return `${problem}; a file that was there before is unchanged`;
}
