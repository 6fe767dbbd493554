/** @file Writing a file to disk, atomically, one tensor in memory at a time. */
import type { FileHandle } from 'node:fs/promises';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { unwrittenFile, writeBytes, writeFileAtomically } from '@spft/safetensors/node';
import { GgufError } from '../errors.js';
import type { MetadataEntries } from '../metadata.js';
import { layoutGguf } from '../serialize.js';
import { type LazyGgufTensor, writeLayout } from '../write-to.js';

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
  options: WriteGgufOptions = {},
): Promise<void> {
  assertKnownOptions('writeGguf', options, { check: true });
  const layout = layoutGguf(metadata, tensors, path);
  const write = async (handle: FileHandle) => {
    await writeLayout({ write: (bytes, at) => writeBytes(handle, bytes, at) }, layout, tensors, path);
    // Padding behind the last tensor belongs to the file too.
    await handle.truncate(layout.fileBytes);
  };
  try {
    await writeFileAtomically(path, write, options.check);
  } catch (cause) {
    const problem = unwrittenFile(cause, layout.fileBytes);
    if (problem === null) throw cause;
    throw new GgufError(problem, { file: path, cause });
  }
}
