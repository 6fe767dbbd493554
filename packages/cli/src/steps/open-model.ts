/** @file A base model with its tokenizer, from a directory or the hub, with progress. */
import { basename } from 'node:path';
import { type LlamaConfig, LlamaForCausalLM, type LoadOptions, type Tokenizer, weightMemory } from '@spft/models';
import { type DownloadOptions, loadTokenizer, openModelDirectory, resolveModelDirectory } from '@spft/models/node';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import * as tf from '@tensorflow/tfjs';
import { CliError } from '../errors.js';
import type { Output } from '../terminal/output.js';
import { bytes } from '../terminal/table.js';
import { type FrozenOptions, formsOf } from './frozen-base.js';
import { downloadWithProgress } from './locate-repo.js';

export interface OpenedModel {
  /** As it was named: a directory or an id on the hub. */
  readonly name: string;
  readonly directory: string;
  readonly model: LlamaForCausalLM;
  readonly tokenizer: Tokenizer;
  /** Tells this model's weights from others. */
  readonly fingerprint: string;
  /** Whether its weights are kept in float32 on disk, where most models have 16 bits. */
  readonly isFloat32: boolean;
}

/** A model without what its texts need: one of random weights has no more. */
export type BaseModel = Omit<OpenedModel, 'tokenizer' | 'directory'>;

/** Which revision of the hub's, and how its frozen weights are stored. */
export type OpenModelOptions = Pick<DownloadOptions, 'revision'> &
  FrozenOptions &
  Pick<LoadOptions, 'dequantise' | 'shards'>;

const OPTIONS: OptionNames<OpenModelOptions> = {
  ...{ revision: true, basePrecision: true, keepTransposed: true, outlierChannels: true, modulesToNotConvert: true },
  ...{ doubleQuantisation: true, quantiseEmbeddings: true, dequantise: true, shards: true },
};

/**
 * Opens a model on the active backend; its weights are downloaded where they are missing. The caller disposes `model`.
 * @param nameOrDirectory a directory, or an id on the hub.
 * @throws ModelError, SafetensorsError, StoredFormError or HubError saying what is wrong and what to do.
 */
export async function openModel(
  nameOrDirectory: string,
  output: Output,
  options: OpenModelOptions = {},
): Promise<OpenedModel> {
  assertKnownOptions('openModel', options, OPTIONS);
  const { revision, ...how } = options;
  const path = await locateModel(nameOrDirectory, output, revision === undefined ? {} : { revision });
  const status = output.task(`model ${nameOrDirectory}`);
  try {
    // Before the weights: it is small, and what is wrong with it would be wrong after them too.
    const tokenizer = await loadTokenizer(path);
    const directory = await openModelDirectory(path);
    try {
      const { config, weights, fingerprint } = directory;
      for (const notice of directory.notices) output.note(notice);
      requireAddressable(nameOrDirectory, config, how, (tensor) =>
        weights.has(tensor) ? weights.entry(tensor).dtype : undefined,
      );
      const model = await LlamaForCausalLM.fromWeights(config, weights, {
        ...how,
        onProgress: (loaded, total) => status.update(loaded / total),
      });
      const parameters = `${(model.parameterCount / 1e6).toFixed(1)} M parameters, ${model.layerCount} layers`;
      const forms = formsOf(model);
      status.done(forms === null ? parameters : `${parameters}, frozen weights in ${forms}`);
      const isFloat32 = weights.entry('model.embed_tokens.weight').dtype === 'F32';
      return { name: nameOrDirectory, directory: path, model, tokenizer, fingerprint, isFloat32 };
    } finally {
      await directory.close();
    }
  } catch (error) {
    status.fail();
    throw error;
  }
}

/** Bytes that WebAssembly can address, less some for activations. */
const WASM_BYTES = 3.5 * 2 ** 30;

/**
 * Tells before minutes of loading what the backend could not hold.
 * @param dtypeOf of a tensor in its file, where there is one: what is there in 4 bits stays so unless it is to be dequantised.
 */
export function requireAddressable(
  name: string,
  config: LlamaConfig,
  options: LoadOptions = {},
  dtypeOf: (tensor: string) => string | undefined = () => undefined,
): void {
  if (tf.getBackend() !== 'wasm') return;
  const { bytes: size, forms } = weightMemory(config, dtypeOf, options);
  if (size <= WASM_BYTES) return;
  const how = forms.size > 0 ? 'with matrices in 4 bits, the others in float32' : 'in float32';
  throw new CliError(
    `model ${name}: its weights take ${bytes(size)} ${how}, more than the 4 GiB that the wasm backend can address; ` +
      'choose another backend (spft doctor lists them), e.g. blas, which keeps weights outside of that memory, or a smaller model',
  );
}

/** The model's directory, downloaded if need be. */
export async function locateModel(
  nameOrDirectory: string,
  output: Output,
  hub: Pick<DownloadOptions, 'revision'> = {},
): Promise<string> {
  return downloadWithProgress(nameOrDirectory, output, (onProgress) =>
    resolveModelDirectory(nameOrDirectory, { ...hub, onProgress }),
  );
}

/** A short name for files and logs: `base` of `models/base/`, `SmolLM2-135M` of `HuggingFaceTB/SmolLM2-135M`. */
export function shortName(nameOrDirectory: string): string {
  return basename(nameOrDirectory.replace(/[/\\]+$/, '')).replace(/[^\w.-]+/g, '-') || 'model';
}

/** How many positions a model was trained on; no end where its RoPE stretches with the length. */
export function trainedPositions({ config }: OpenedModel['model']): number {
  return config.ropeScaling?.ropeType === 'dynamic' ? Infinity : config.maxPositionEmbeddings;
}
