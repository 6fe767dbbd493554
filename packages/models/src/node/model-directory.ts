/**
 * @file A Hugging Face model directory or a GGUF file, opened: its config, and its weights checked against it before the first is read.
 */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { DTYPE_BYTES, elementCount } from '@spft/safetensors';
import { openSafetensorsModel } from '@spft/safetensors/node';
import { withPacked } from '../bitsandbytes.js';
import { ModelError } from '../errors.js';
import { type LlamaConfig, llamaTensors, parseLlamaConfig } from '../llama-config.js';
import { requireLayers } from '../load-weights.js';
import type { ModelWeights } from '../model-weights.js';
import { aliased, resolveTying } from '../tied-head.js';
import { adapterHint } from './adapter-hint.js';
import { isGgufFile, openGgufParts } from './gguf/open-gguf-model.js';
import { readJsonObjectIfThere } from './json-file.js';

export interface ModelDirectory {
  readonly path: string;
  /** With the ends of text of generation_config.json, where it has them. */
  readonly config: LlamaConfig;
  /** config.json as it is; of a GGUF file what its metadata stand for. */
  readonly configJson: Readonly<Record<string, unknown>>;
  /** generation_config.json as it is, or null. */
  readonly generationConfigJson: Readonly<Record<string, unknown>> | null;
  /** All that the config needs are there, in the right shapes, floating-point. */
  readonly weights: ModelWeights;
  /**
   * 64 hexadecimal digits that tell this model from others: of the config's shape, and of every tensor's name, dtype, shape and some of its
   * bytes. The same for one file and shards; another one for other weights or another dtype.
   */
  readonly fingerprint: string;
  /** What a person should know of it although it can be used. */
  readonly notices: readonly string[];
  /** Closes the weights' files. */
  close(): Promise<void>;
}

/** Written by old versions of transformers; computed from the config instead. */
const COMPUTED = /\.rotary_emb\.inv_freq$/;
const FLOATING = new Set<string>(['F32', 'F16', 'BF16', 'F64']);
/** Of bitsandbytes' matrices in 4 bits (bitsandbytes.ts). */
const PACKED = new Set<string>(['NF4', 'FP4']);

/**
 * Opens a directory with config.json and safetensors weights, or a GGUF file. Close it when done.
 * @throws ModelError when a file is missing, the config is of no supported model, or config and weights do not fit.
 * @throws SafetensorsError when the weights' files are damaged or a shard is missing; GgufError when a GGUF file is damaged.
 */
export async function openModelDirectory(path: string): Promise<ModelDirectory> {
  return (await isGgufFile(path)) ? openGgufModel(path) : openDirectory(path);
}

/** A GGUF file stands for config and weights. */
async function openGgufModel(path: string): Promise<ModelDirectory> {
  const { configJson, weights, notices } = await openGgufParts(path);
  return checked(path, {
    configJson,
    generationConfigJson: null,
    parsed: parseLlamaConfig(configJson, path),
    weights,
    notices,
  });
}

async function openDirectory(path: string): Promise<ModelDirectory> {
  const isDirectory = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isDirectory) throw new ModelError(`${path}: there is no such directory; check the path`);
  const configJson = await readJsonObjectIfThere(path, 'config.json');
  if (!configJson) {
    throw new ModelError(
      (await adapterHint(path)) ??
        `${path}: wanted config.json in it, found none; is this a model directory as the Hugging Face hub has them?`,
    );
  }
  const generationConfigJson = (await readJsonObjectIfThere(path, 'generation_config.json')) ?? null;
  // As in transformers: instruct models have their ends of turn there and not always in config.json.
  const ends = generationConfigJson?.eos_token_id ?? configJson.eos_token_id;
  const parsed = parseLlamaConfig({ ...configJson, eos_token_id: ends }, join(path, 'config.json'));
  const weights = await openSafetensorsModel(path);
  return checked(path, { configJson, generationConfigJson, parsed, weights, notices: [] });
}

interface Opened extends Pick<ModelDirectory, 'configJson' | 'generationConfigJson' | 'notices'> {
  readonly parsed: LlamaConfig;
  readonly weights: ModelWeights;
}

/** Closes the weights where they do not fit. */
async function checked(
  path: string,
  { configJson, generationConfigJson, parsed, weights: file, notices }: Opened,
): Promise<ModelDirectory> {
  try {
    requireLayers(parsed, file.names.length);
    const packed = await withPacked(file);
    const { config, standsFor, notice } = await resolveTying(parsed, packed);
    const weights = aliased(packed, standsFor);
    checkWeights(path, config, weights);
    return {
      ...{ path, config, configJson, generationConfigJson, weights },
      fingerprint: await fingerprintOf(config, weights),
      notices: notice === null ? notices : [...notices, `${path}: ${notice}`],
      close: () => weights.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function checkWeights(path: string, config: LlamaConfig, weights: ModelWeights): void {
  const wanted = llamaTensors(config);
  const problems: string[] = [];
  for (const [name, shape] of wanted) {
    if (!weights.has(name)) {
      problems.push(`'${name}' [${shape}] is missing`);
      continue;
    }
    const found = weights.entry(name);
    if (found.shape.length !== shape.length || found.shape.some((n, axis) => n !== shape[axis])) {
      problems.push(`'${name}' is [${found.shape}], config.json calls for [${shape}]`);
    } else if (!FLOATING.has(found.dtype) && !(shape.length === 2 && PACKED.has(found.dtype))) {
      problems.push(`'${name}' is ${found.dtype}, wanted F32, F16 or BF16; use the model's unquantized weights`);
    }
  }
  for (const name of weights.names) {
    const tied = config.tieWordEmbeddings && name === 'lm_head.weight';
    if (!wanted.has(name) && !tied && !COMPUTED.test(name)) problems.push(`'${name}' has no place in this config`);
  }
  if (problems.length === 0) return;
  const shown = problems.slice(0, 5).join('\n  ');
  const rest = problems.length > 5 ? `\n  and ${problems.length - 5} more` : '';
  throw new ModelError(
    `${path}: the weights do not fit config.json; download the model again, or take both from one model:\n  ${shown}${rest}`,
  );
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
