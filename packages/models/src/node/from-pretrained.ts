/** @file A model from a directory, a GGUF file or the hub, in one call. */
import { stat } from 'node:fs/promises';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { ModelError } from '../errors.js';
import { HubError } from '../hub/hub-error.js';
import { isRepoId } from '../hub/repo-id.js';
import { LlamaForCausalLM } from '../llama.js';
import { LOAD_OPTIONS, type LoadOptions } from '../load-options.js';
import { isGgufFile } from './gguf/open-gguf-model.js';
import { DOWNLOAD_OPTIONS, type DownloadOptions, downloadModel } from './hub/download.js';
import { openModelDirectory } from './model-directory.js';

export interface FromPretrainedOptions extends LoadOptions {
  /** How to get it from the hub, where `dirOrHubId` is no directory. */
  readonly hub?: DownloadOptions;
}

const OPTIONS: OptionNames<FromPretrainedOptions> = { ...LOAD_OPTIONS, hub: true };

/**
 * The directory of a model: `dirOrHubId` itself where there is such a directory or it is a GGUF file, else the hub's model of that id in the cache, downloaded
 * where it is not yet there.
 * @throws ModelError when it is neither. @throws HubError when the download fails.
 */
export async function resolveModelDirectory(dirOrHubId: string, options: DownloadOptions = {}): Promise<string> {
  assertKnownOptions('resolveModelDirectory', options, DOWNLOAD_OPTIONS);
  const found = await stat(dirOrHubId).catch(() => null);
  if (found?.isDirectory()) return dirOrHubId;
  if (found && (await isGgufFile(dirOrHubId))) return dirOrHubId;
  if (found) {
    throw new ModelError(
      `${dirOrHubId}: wanted a model directory, a GGUF file or an id on the hub, found another file; give the directory it is in`,
    );
  }
  if (isRepoId(dirOrHubId)) {
    try {
      return await downloadModel(dirOrHubId, options);
    } catch (error) {
      if (!(error instanceof HubError)) throw error;
      throw new HubError(`${error.message} (there is no directory '${dirOrHubId}' here either)`, {
        status: error.status,
        cause: error,
      });
    }
  }
  throw new ModelError(
    `${dirOrHubId}: there is no such directory, and it is no id of a model on the hub (like HuggingFaceTB/SmolLM2-135M); check the path`,
  );
}

/**
 * A model with its weights on the active tfjs backend, from a directory, a GGUF file or the hub. `loadTokenizer` loads its tokenizer.
 * @throws ModelError, SafetensorsError, GgufError or HubError, saying what is wrong and what to do.
 */
export async function fromPretrained(
  dirOrHubId: string,
  options: FromPretrainedOptions = {},
): Promise<LlamaForCausalLM> {
  assertKnownOptions('fromPretrained', options, OPTIONS);
  const { hub, ...load } = options;
  const directory = await openModelDirectory(await resolveModelDirectory(dirOrHubId, hub));
  try {
    return await LlamaForCausalLM.fromWeights(directory.config, directory.weights, load);
  } finally {
    await directory.close();
  }
}
