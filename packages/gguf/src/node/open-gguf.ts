/** @file Reading a file from disk, range by range: a model of many gigabytes is never wholly in memory. */
import { type FileHandle, open } from 'node:fs/promises';
import type { ByteSource } from '@spft/safetensors';
import { GgufError } from '../errors.js';
import { type GgufFile, openGgufSource } from '../file.js';

/** Linux reads at most 2^31 − 4096 bytes a call, Node takes no more than 2^31 − 1. */
const READ_BYTES = 1024 ** 3;

/**
 * Opens a file and checks its head. Close it when done.
 * @throws GgufError when it cannot be read or is no valid GGUF file.
 */
export async function openGguf(path: string): Promise<GgufFile> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    const problem = code === 'ENOENT' ? 'there is no such file; check the path' : `cannot be read: ${message}`;
    throw new GgufError(problem, { file: path, cause });
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new GgufError('is no file; name the .gguf file itself', { file: path });
    return await openGgufSource(fileSource(path, handle, stat.size));
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function fileSource(name: string, handle: FileHandle, size: number): ByteSource {
  return {
    name,
    size,
    async read(begin, end) {
      const bytes = new Uint8Array(end - begin);
      for (let at = 0; at < bytes.length; ) {
        const length = Math.min(READ_BYTES, bytes.length - at);
        const { bytesRead } = await handle.read(bytes, at, length, begin + at);
        if (bytesRead === 0) {
          throw new GgufError(
            `ends at byte ${begin + at} while bytes up to ${end} are wanted; it was cut short after it was opened`,
            { file: name },
          );
        }
        at += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}
