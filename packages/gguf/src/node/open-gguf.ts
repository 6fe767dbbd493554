/** @file Reading a file from disk, range by range: a model of many gigabytes is never wholly in memory. */
import { type FileHandle, open } from 'node:fs/promises';
import type { ByteSource } from '@spft/safetensors';
import { fileSource } from '@spft/safetensors/node';
import { GgufError } from '../errors.js';
import { type GgufFile, openGgufSource } from '../file.js';

/**
 * Opens a file and checks its head. Close it when done.
 * @throws GgufError when it cannot be read or is no valid GGUF file.
 */
export async function openGguf(path: string): Promise<GgufFile> {
  const source = await openGgufBytes(path);
  try {
    return await openGgufSource(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** A file's bytes, of which nothing is checked yet. Close it when done. @throws GgufError when it cannot be opened. */
export async function openGgufBytes(path: string): Promise<ByteSource> {
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
    return fileSource(path, handle, stat.size, (problem) => new GgufError(problem, { file: path }));
  } catch (error) {
    await handle.close();
    throw error;
  }
}
