/**
 * @file A Hugging Face model directory or a GGUF file, opened: its config, and its weights checked against it before the first is read.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { DTYPE_BYTES, elementCount } from '@spft/safetensors';
import { directoryFiles } from '@spft/safetensors/node';
import { ModelError } from '../errors.js';
import { type LlamaConfig, llamaTensors } from '../llama-config.js';
import type { ModelWeights } from '../model-weights.js';
import { type OpenedModel, openGgufModel, openModel, PACKED } from '../open-model.js';
import { ggufSource, isGgufFile } from './gguf/open-gguf-model.js';

export interface ModelDirectory extends OpenedModel {
  readonly path: string;
  /**
   * 64 hexadecimal digits that tell this model from others: of the config's shape, and of every tensor's name, dtype, shape and some of its
   * bytes. The same for one file and shards; another one for other weights or another dtype.
   */
  readonly fingerprint: string;
}

/**
 * Opens a directory with config.json and safetensors weights, or a GGUF file. Close it when done.
 * @throws ModelError when a file is missing, the config is of no supported model, or config and weights do not fit.
 * @throws SafetensorsError when the weights' files are damaged or a shard is missing; GgufError when a GGUF file is damaged.
 */
export async function openModelDirectory(path: string): Promise<ModelDirectory> {
  const opened = (await isGgufFile(path)) ? await openGgufModel(await ggufSource(path)) : await openDirectory(path);
  try {
    return { ...opened, path, fingerprint: await fingerprintOf(opened.config, opened.weights) };
  } catch (error) {
    await opened.close();
    throw error;
  }
}

async function openDirectory(path: string): Promise<OpenedModel> {
  const isDirectory = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isDirectory) throw new ModelError(`${path}: there is no such directory; check the path`);
  return openModel(directoryFiles(path));
}

/** Bytes of each tensor that the fingerprint sees, at its start, middle and end: any training changes some of them. */
const SAMPLE_BYTES = 1024;

async function fingerprintOf(config: LlamaConfig, weights: ModelWeights): Promise<string> {
  const { bosTokenId, eosTokenIds, padTokenId, initializerRange, maxPositionEmbeddings, ...computed } = config;
  const hash = createHash('sha256').update(JSON.stringify(computed));
  for (const name of [...llamaTensors(config).keys()].sort()) {
    const { dtype, shape } = weights.entry(name);
    hash.update(JSON.stringify([name, dtype, shape]));
    const size = elementCount(shape) * (PACKED.has(dtype) ? 0.5 : DTYPE_BYTES[dtype]);
    if (size <= 3 * SAMPLE_BYTES) {
      hash.update(await weights.bytes(name));
      continue;
    }
    const middle = Math.floor(size / 2);
    for (const begin of [0, middle, size - SAMPLE_BYTES]) {
      hash.update(await weights.bytes(name, begin, Math.min(size, begin + SAMPLE_BYTES)));
    }
  }
  return hash.digest('hex');
}
