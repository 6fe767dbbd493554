/** @file A file on disk as bytes that are read range by range. */
import type { FileHandle } from 'node:fs/promises';
import type { ByteSource } from '../file.js';

/** Linux reads at most 2^31 − 4096 bytes a call, Node takes no more than 2^31 − 1. */
const READ_BYTES = 1024 ** 3;

/**
 * @param handle taken over: `close` closes it.
 * @param size bytes that the file has.
 * @param failure makes the error of a problem with the file `name`.
 */
export function fileSource(
  name: string,
  handle: FileHandle,
  size: number,
  failure: (problem: string) => Error,
): ByteSource {
  return {
    name,
    size,
    async read(begin, end) {
      const bytes = new Uint8Array(end - begin);
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(READ_BYTES, bytes.length - at);
        const { bytesRead } = await handle.read(bytes, at, length, begin + at);
        if (bytesRead === 0) {
          throw failure(
            `ends at byte ${begin + at} while bytes up to ${end} are wanted; it was cut short after it was opened`,
          );
        }
        at += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}
