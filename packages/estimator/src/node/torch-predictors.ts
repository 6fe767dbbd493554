/**
 * @file Predictors as the original's first release keeps them: a file of `torch.save` for each factor, named for it (`r_8/mlp/layers.0.mlp_low_rank_a.pt`,
 * `spft/modules/svd.py`), or one file with a dict. Read without running what is in them (safetensors' `openTorchFile`), as if all were one file.
 */
import { basename, extname, join } from 'node:path';
import { BARE_TENSOR, type SafetensorsFile } from '@spft/safetensors';
import { openTorchFile } from '@spft/safetensors/node';
import { PredictorError } from '../errors.js';

/** Ending of such files. */
const TORCH_ENDING = '.pt';

/** Files of a directory that are open at a time; an 8B model's predictors are 256. */
const MOST_FILES = 4096;

export const isTorchFile = (name: string): boolean => extname(name) === TORCH_ENDING;

/**
 * The tensors of `files` below `directory`: those of a dict by their keys, one alone by its file's name.
 * @throws PredictorError when two have one name; SafetensorsError when a file holds anything but tensors.
 */
export async function openTorchPredictors(directory: string, files: readonly string[]): Promise<SafetensorsFile> {
  if (files.length > MOST_FILES) {
    throw new PredictorError(
      `${directory}: holds ${files.length} files '*.pt', more than any model's predictors; name their directory`,
    );
  }
  const opened: SafetensorsFile[] = [];
  const places = new Map<string, { readonly file: SafetensorsFile; readonly tensor: string }>();
  const close = async () => void (await Promise.all(opened.map((file) => file.close())));
  try {
    for (const name of files) {
      const file = await openTorchFile(join(directory, name));
      opened.push(file);
      const isBare = file.names.length === 1 && file.names[0] === BARE_TENSOR;
      for (const tensor of file.names) {
        const full = isBare ? basename(name, TORCH_ENDING) : tensor;
        if (places.has(full)) {
          throw new PredictorError(
            `${directory}: has '${full}' in more than one file; name the directory of one rank, e.g. …/r_8`,
          );
        }
        places.set(full, { file, tensor });
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  const at = (name: string) => {
    const place = places.get(name);
    if (!place) throw new PredictorError(`${directory}: has no tensor '${name}'`);
    return place;
  };
  return {
    names: [...places.keys()],
    metadata: {},
    has: (name) => places.has(name),
    entry: (name) => at(name).file.entry(at(name).tensor),
    bytes: async (name, begin, end) => at(name).file.bytes(at(name).tensor, begin, end),
    float32: async (name) => at(name).file.float32(at(name).tensor),
    int32: async (name) => at(name).file.int32(at(name).tensor),
    close,
  };
}
