/**
 * @file A model opened among its files, or from a GGUF file: its config, and its weights checked against it before the first is read. Where the files lie is
 * their `FileSet`'s affair, so a model that came into a page's storage passes the checks of one on a disk.
 */
import { type ByteSource, type FileSet, openModelWeights } from '@spft/safetensors';
import { adapterHint } from './adapter-hint.js';
import { withPacked } from './bitsandbytes.js';
import { ModelError } from './errors.js';
import { openGgufParts } from './gguf/open-gguf.js';
import { readJsonObjectIfThere } from './json-file.js';
import { type LlamaConfig, llamaTensors, parseLlamaConfig } from './llama-config.js';
import { requireLayers } from './load-weights.js';
import type { ModelWeights } from './model-weights.js';
import { aliased, resolveTying } from './tied-head.js';

export interface OpenedModel {
  /** With the ends of text of generation_config.json, where it has them. */
  readonly config: LlamaConfig;
  /** config.json as it is; of a GGUF file what its metadata stand for. */
  readonly configJson: Readonly<Record<string, unknown>>;
  /** generation_config.json as it is, or null. */
  readonly generationConfigJson: Readonly<Record<string, unknown>> | null;
  /** All that the config needs are there, in the right shapes, floating-point. */
  readonly weights: ModelWeights;
  /** What a person should know of it although it can be used. */
  readonly notices: readonly string[];
  /** Closes the weights' files. */
  close(): Promise<void>;
}

/** Written by old versions of transformers; computed from the config instead. */
const COMPUTED = /\.rotary_emb\.inv_freq$/;
const FLOATING = new Set<string>(['F32', 'F16', 'BF16', 'F64']);
/** Of bitsandbytes' matrices in 4 bits (bitsandbytes.ts). */
export const PACKED: ReadonlySet<string> = new Set(['NF4', 'FP4']);

/**
 * Opens config.json and safetensors weights. `LlamaForCausalLM.fromWeights` takes config and weights. Close it when done.
 * @throws ModelError when a file is missing, the config is of no supported model, or config and weights do not fit.
 * @throws SafetensorsError when the weights' files are damaged or a shard is missing.
 */
export async function openModel(files: FileSet): Promise<OpenedModel> {
  const configJson = await readJsonObjectIfThere(files, 'config.json');
  if (!configJson) {
    throw new ModelError(
      (await adapterHint(files)) ??
        `${files.name}: wanted config.json in it, found none; is this a model directory as the Hugging Face hub has them?`,
    );
  }
  const generationConfigJson = (await readJsonObjectIfThere(files, 'generation_config.json')) ?? null;
  // As in transformers: instruct models have their ends of turn there and not always in config.json.
  const ends = generationConfigJson?.eos_token_id ?? configJson.eos_token_id;
  const parsed = parseLlamaConfig({ ...configJson, eos_token_id: ends }, `${files.name}/config.json`);
  const weights = await openModelWeights(files);
  return checked(files.name, { configJson, generationConfigJson, parsed, weights, notices: [] });
}

/**
 * Opens a GGUF file, which stands for config and weights; closing the result closes the source.
 * @throws GgufError when it is no valid file; ModelError when it is no Llama's, or lacks weights. The source is then closed.
 */
export async function openGgufModel(source: ByteSource): Promise<OpenedModel> {
  const { configJson, weights, notices } = await openGgufParts(source);
  const name = source.name ?? 'the GGUF file';
  let parsed: LlamaConfig;
  try {
    parsed = parseLlamaConfig(configJson, name);
  } catch (error) {
    await weights.close();
    throw error;
  }
  return checked(name, { configJson, generationConfigJson: null, parsed, weights, notices });
}

interface Opened extends Pick<OpenedModel, 'configJson' | 'generationConfigJson' | 'notices'> {
  readonly parsed: LlamaConfig;
  readonly weights: ModelWeights;
}

/** Closes the weights where they do not fit. */
async function checked(
  name: string,
  { configJson, generationConfigJson, parsed, weights: file, notices }: Opened,
): Promise<OpenedModel> {
  try {
    requireLayers(parsed, file.names.length);
    const packed = await withPacked(file);
    const { config, standsFor, notice } = await resolveTying(parsed, packed);
    const weights = aliased(packed, standsFor);
    checkWeights(name, config, weights);
    return {
      ...{ config, configJson, generationConfigJson, weights },
      notices: notice === null ? notices : [...notices, `${name}: ${notice}`],
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
