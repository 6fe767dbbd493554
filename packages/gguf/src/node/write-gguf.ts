/** @file Writing a file to disk, atomically, one tensor in memory at a time. */
import type { FileHandle } from 'node:fs/promises';
import { writeFileAtomically } from '@spft/safetensors/node';
import { GgufError } from '../errors.js';
import type { MetadataEntries } from '../metadata.js';
import { layoutGguf, requireBytes, type TensorSpec } from '../serialize.js';

/** A tensor to write, whose bytes are made when its turn comes. */
export interface LazyGgufTensor extends TensorSpec {
  readonly data: () => Promise<Uint8Array>;
}

export interface WriteGgufOptions {
  /** Looks at the complete file under its temporary name; what it throws leaves `path` as it was. */
  readonly check?: (temporary: string) => Promise<void>;
}

/**
 * Writes a file; one that was there before stays until the new one is complete and checked.
 * @throws GgufError when data do not fit their tensor, or the disk does not take the file.
 */
export async function writeGguf(
  path: string,
  metadata: MetadataEntries,
  tensors: ReadonlyMap<string, LazyGgufTensor>,
  { check }: WriteGgufOptions = {},
): Promise<void> {
  const { head, places, fileBytes } = layoutGguf(metadata, tensors, path);
  const write = async (handle: FileHandle) => {
    await writeAll(handle, head, 0);
    for (const [tensor, { data }] of tensors) {
      const { begin, bytes } = places.get(tensor)!;
      const made = await data();
      requireBytes(tensor, made, bytes, path);
      await writeAll(handle, made, begin);
    }
    // Padding behind the last tensor belongs to the file too.
    await handle.truncate(fileBytes);
  };
  try {
    await writeFileAtomically(path, write, check);
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (!code?.startsWith('E')) throw cause;
    const problem =
      code === 'ENOSPC' || code === 'EDQUOT'
        ? `needs ${fileBytes} bytes, and the disk is full: make room and write it again`
        : `cannot be written: ${(cause as Error).message}`;
    throw new GgufError(`${problem}; a file that was there before is unchanged`, { file: path, cause });
  }
}

/** `FileHandle.write` may write less than it was given, and takes at most 2^31 − 1 bytes. */
async function writeAll(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, Math.min(1024 ** 3, bytes.length - at), position + at);
    at += bytesWritten;
  }
}
