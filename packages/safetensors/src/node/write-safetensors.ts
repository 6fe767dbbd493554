/** @file Writing safetensors files to disk, atomically, one tensor in memory at a time, in one file or in shards. */
import { join } from 'node:path';
import { DTYPE_BYTES, elementCount } from '../dtypes.js';
import { SafetensorsError } from '../errors.js';
import { MODEL_FILE, MODEL_INDEX_FILE } from '../open-model.js';
import { layoutSafetensors, type TensorData, type TensorSpec, tensorBytes } from '../serialize.js';
import { writeFileAtomically } from './atomic-file.js';
import { unwrittenFile, writeBytes } from './write-bytes.js';

/** A tensor to write, with its data or with a function that makes them when their turn comes. */
export interface LazyTensorToWrite extends TensorSpec {
  readonly data: TensorData | (() => TensorData | Promise<TensorData>);
}

export type TensorsToWrite = Readonly<Record<string, LazyTensorToWrite>>;

/**
 * Writes a safetensors file; a file that was there before stays until the new one is complete.
 * @throws SafetensorsError when data does not fit dtype and shape, or the disk does not take the file.
 */
export async function writeSafetensors(
  path: string,
  tensors: TensorsToWrite,
  metadata?: Readonly<Record<string, string>>,
): Promise<void> {
  const { header, order, fileBytes } = layoutSafetensors(tensors, metadata, path);
  try {
    await writeFileAtomically(path, async (handle) => {
      await writeBytes(handle, header);
      for (const name of order) {
        const { data } = tensors[name]!;
        await writeBytes(
          handle,
          tensorBytes(name, tensors[name]!, typeof data === 'function' ? await data() : data, path),
        );
      }
    });
  } catch (cause) {
    const problem = unwrittenFile(cause, fileBytes);
    if (problem === null) throw cause;
    throw new SafetensorsError(problem, { file: path, cause });
  }
}

/**
 * Writes a model's weights into `dir` as transformers does: `model.safetensors`, or shards of at most `maxShardBytes` with an index (a
 * tensor is never divided). Each file is written atomically and the index last; the directory should hold no other weights.
 * @returns the names of the files written.
 * @throws SafetensorsError
 */
export async function writeSafetensorsModel(
  dir: string,
  tensors: TensorsToWrite,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
  maxShardBytes = 5e9,
): Promise<string[]> {
  const sizes = Object.entries(tensors).map(
    ([name, t]) => [name, elementCount(t.shape) * DTYPE_BYTES[t.dtype]] as const,
  );
  const shards: string[][] = [[]];
  let size = 0;
  for (const [name, bytes] of sizes) {
    if (size > 0 && size + bytes > maxShardBytes) {
      shards.push([]);
      size = 0;
    }
    shards.at(-1)!.push(name);
    size += bytes;
  }
  if (shards.length === 1) {
    await writeSafetensors(join(dir, MODEL_FILE), tensors, metadata);
    return [MODEL_FILE];
  }
  const digits = (n: number) => String(n).padStart(5, '0');
  const files: string[] = [];
  const weightMap: Record<string, string> = {};
  for (const [i, names] of shards.entries()) {
    const file = `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`;
    await writeSafetensors(join(dir, file), Object.fromEntries(names.map((n) => [n, tensors[n]!])), metadata);
    for (const name of names) weightMap[name] = file;
    files.push(file);
  }
  const index = {
    metadata: { total_size: sizes.reduce((sum, [, bytes]) => sum + bytes, 0) },
    weight_map: Object.fromEntries(Object.entries(weightMap).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  await writeFileAtomically(join(dir, MODEL_INDEX_FILE), (handle) =>
    handle.writeFile(`${JSON.stringify(index, null, 2)}\n`),
  );
  return [...files, MODEL_INDEX_FILE];
}
