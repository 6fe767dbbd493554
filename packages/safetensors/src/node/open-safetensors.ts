/** @file Reading a safetensors file from disk, range by range: an 8B model's shard is never wholly in memory. */
import { type FileHandle, open } from 'node:fs/promises';
import { SafetensorsError } from '../errors.js';
import { type ByteSource, openSource, type SafetensorsFile } from '../file.js';
import { openTorchSource } from '../torch/torch-file.js';
import { fileSource } from './file-source.js';

/**
 * Opens a file and checks its header. Close it when done.
 * @throws SafetensorsError when it cannot be read or is no valid safetensors file.
 */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  return openFile(path, '.safetensors', openSource);
}

/**
 * Opens a file that `torch.save` wrote and checks what it says of its tensors; nothing in it is run (`openTorchSource`). Close it when done.
 * @throws SafetensorsError when it cannot be read, or holds anything but tensors.
 */
export async function openTorchFile(path: string): Promise<SafetensorsFile> {
  return openFile(path, '.pt', openTorchSource);
}

async function openFile(
  path: string,
  ending: string,
  read: (source: ByteSource) => Promise<SafetensorsFile>,
): Promise<SafetensorsFile> {
  const source = await openByteSource(path, (problem) => new SafetensorsError(problem, { file: path }), ending);
  try {
    return await read(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/**
 * A file on disk, to be read range by range. Close it when done.
 * @param failure makes the error of a problem that shows while it is read.
 * @throws SafetensorsError when it cannot be opened, with the system's error as its cause.
 */
export async function openByteSource(
  path: string,
  failure: (problem: string) => Error,
  ending = '',
): Promise<ByteSource> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (cause) {
    throw cannotRead(path, cause);
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) {
      throw new SafetensorsError(`is no file${ending === '' ? '' : `; name the ${ending} file itself`}`, {
        file: path,
      });
    }
    return fileSource(path, handle, stat.size, failure);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function cannotRead(file: string, cause: unknown): SafetensorsError {
  const code = (cause as NodeJS.ErrnoException).code;
  const problem =
    code === 'ENOENT'
      ? 'there is no such file; check the path'
      : code === 'EACCES'
        ? 'may not be read by this user; change its permissions'
        : `cannot be read: ${(cause as Error).message}`;
  return new SafetensorsError(problem, { file, cause });
}
