/** @file A model's weights in a directory. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SafetensorsError } from '../errors.js';
import type { SafetensorsFile } from '../file.js';
import type { FileSet } from '../file-set.js';
import { openModelWeights } from '../open-model.js';
import { openByteSource } from './open-safetensors.js';

/** A directory as the files of a model. @throws SafetensorsError when a file is there and cannot be opened. */
export function directoryFiles(dir: string): FileSet {
  return {
    name: dir,
    async open(file) {
      const path = join(dir, file);
      try {
        return await openByteSource(path, (problem) => new SafetensorsError(problem, { file: path }));
      } catch (error) {
        const code = ((error as Error).cause as NodeJS.ErrnoException | undefined)?.code;
        if (code === 'ENOENT' || code === 'ENOTDIR') return null;
        throw error;
      }
    },
    list: (folder) => readdir(join(dir, folder)).catch(() => []),
  };
}

/**
 * Opens the weights of a model directory. Close the result when done.
 *
 * Where both a single file and an index are there, the single file counts, as in transformers.
 * @throws SafetensorsError when there are none, a shard is missing, or shards and index disagree.
 */
export async function openSafetensorsModel(dir: string): Promise<SafetensorsFile> {
  return openModelWeights(directoryFiles(dir));
}
