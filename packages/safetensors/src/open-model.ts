/**
 * @file A model's weights among its files: `model.safetensors`, or shards that `model.safetensors.index.json` lists. Either way one
 * `SafetensorsFile`.
 */
import { SafetensorsError } from './errors.js';
import { missingTensor, openSource, type SafetensorsFile } from './file.js';
import { type FileSet, readText } from './file-set.js';
import { findDuplicateKey } from './header.js';
import { showValue } from './show-value.js';

export const MODEL_FILE = 'model.safetensors';
export const MODEL_INDEX_FILE = 'model.safetensors.index.json';

/**
 * Opens the weights among a model's files. Close the result when done.
 *
 * Where both a single file and an index are there, the single file counts, as in transformers.
 * @throws SafetensorsError when there are none, a shard is missing, or shards and index disagree.
 */
export async function openModelWeights(files: FileSet): Promise<SafetensorsFile> {
  const single = await openIfThere(files, MODEL_FILE);
  if (single) return single;
  const text = await readText(files, MODEL_INDEX_FILE);
  if (text === null) {
    throw new SafetensorsError(
      `wanted ${MODEL_FILE} or ${MODEL_INDEX_FILE} in it, found neither; of a directory weights are only read from safetensors: convert others (.bin, .pt) with transformers' save_pretrained, and name a .gguf file itself`,
      { file: files.name },
    );
  }
  const indexPath = `${files.name}/${MODEL_INDEX_FILE}`;
  const shardOf = parseIndex(text, indexPath);
  const shards = new Map<string, SafetensorsFile>();
  try {
    for (const shard of new Set(shardOf.values())) {
      const opened = await openIfThere(files, shard);
      if (!opened) {
        throw new SafetensorsError(`names the shard '${shard}', which is not there; download it or copy it beside`, {
          file: indexPath,
        });
      }
      shards.set(shard, opened);
    }
    return new ShardedFile(files.name, indexPath, shardOf, shards);
  } catch (error) {
    await Promise.all([...shards.values()].map((shard) => shard.close()));
    throw error;
  }
}

async function openIfThere(files: FileSet, file: string): Promise<SafetensorsFile | undefined> {
  const source = await files.open(file);
  if (source === null) return undefined;
  try {
    return await openSource(source);
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Shard by tensor name, in the order of the shards' names. */
function parseIndex(text: string, file: string): Map<string, string> {
  let index: unknown;
  try {
    index = JSON.parse(text);
  } catch (cause) {
    throw new SafetensorsError(`is no valid JSON: ${(cause as Error).message}; download it again`, { file, cause });
  }
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new SafetensorsError(`wanted an object 'weight_map' from tensor to shard, found ${showValue(map)}`, {
      file,
    });
  }
  const tensor = findDuplicateKey(text);
  if (tensor !== undefined) {
    throw new SafetensorsError('is listed twice in the index; remove one of them', { file, tensor });
  }
  const entries = Object.entries(map as Record<string, unknown>);
  for (const [tensor, shard] of entries) {
    // A shard lies beside its index: a path could reach any file of the user's.
    if (typeof shard !== 'string' || shard === '' || /[\\/\0]/.test(shard)) {
      throw new SafetensorsError(`wanted the name of a shard file beside the index, found ${showValue(shard)}`, {
        file,
        tensor,
      });
    }
  }
  return new Map((entries as [string, string][]).sort((a, b) => (a[1] < b[1] ? -1 : a[1] > b[1] ? 1 : 0)));
}

class ShardedFile implements SafetensorsFile {
  readonly names: readonly string[];
  readonly metadata: Readonly<Record<string, string>>;

  constructor(
    private readonly dir: string,
    indexPath: string,
    private readonly shardOf: ReadonlyMap<string, string>,
    private readonly shards: ReadonlyMap<string, SafetensorsFile>,
  ) {
    for (const [tensor, shard] of shardOf) {
      if (!shards.get(shard)!.has(tensor)) {
        throw new SafetensorsError(`the index says it is in '${shard}', which does not have it; download both again`, {
          file: indexPath,
          tensor,
        });
      }
    }
    const names: string[] = [];
    const foundIn = new Map<string, string>();
    for (const [shard, file] of shards) {
      for (const tensor of file.names) {
        const other = foundIn.get(tensor);
        if (other !== undefined) {
          throw new SafetensorsError(
            `is in '${other}' and in '${shard}'; which one counts is not defined: remove one`,
            {
              file: indexPath,
              tensor,
            },
          );
        }
        foundIn.set(tensor, shard);
        if (shardOf.get(tensor) === shard) names.push(tensor);
      }
    }
    this.names = names;
    this.metadata = Object.assign(Object.create(null), ...[...shards.values()].map((file) => file.metadata));
  }

  has(name: string): boolean {
    return this.shardOf.has(name);
  }

  entry(name: string): ReturnType<SafetensorsFile['entry']> {
    return this.file(name).entry(name);
  }

  async bytes(name: string, begin?: number, end?: number): Promise<Uint8Array> {
    return this.file(name).bytes(name, begin, end);
  }

  async float32(name: string): Promise<Float32Array> {
    return this.file(name).float32(name);
  }

  async int32(name: string): Promise<Int32Array> {
    return this.file(name).int32(name);
  }

  async close(): Promise<void> {
    await Promise.all([...this.shards.values()].map((file) => file.close()));
  }

  private file(name: string): SafetensorsFile {
    const shard = this.shardOf.get(name);
    if (shard === undefined) throw missingTensor(name, this.names, this.dir);
    return this.shards.get(shard)!;
  }
}
