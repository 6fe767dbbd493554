/**
 * @file Writing a model, or an adapter alone, as a GGUF file for llama.cpp. The complete file is opened as any other would be and compared, tensor by
 * tensor, with what was meant, before it takes its place.
 */
import { createHash } from 'node:crypto';
import { float32, type MetadataEntries, type MetadataValue, string, uint32 } from '@spft/gguf';
import { type LazyGgufTensor, openGguf, writeGguf } from '@spft/gguf/node';
import type { PeftModel } from '@spft/peft';
import { showValue } from '@spft/safetensors';
import { formOf } from '@spft/sparse-ops/internals';
import { ModelError } from '../../errors.js';
import { configOfGguf } from '../../gguf/config-of-gguf.js';
import {
  adapterTensors,
  type ExportableModel,
  type ExportedTensor,
  type ExportType,
  encodeChecked,
  FILE_TYPES,
  modelTensors,
} from '../../gguf/export-tensors.js';
import { ggufOfConfig } from '../../gguf/gguf-of-config.js';
import { ggufOfTokenizer } from '../../gguf/gguf-of-tokenizer.js';
import { ropeFactors } from '../../gguf/rope-factors.js';
import { weightsOfGguf } from '../../gguf/weights-of-gguf.js';
import { type LlamaConfig, parseLlamaConfig } from '../../llama-config.js';
import { readTokenizerFiles } from '../load-tokenizer.js';

export interface SaveGgufOptions {
  /** Default `f16`. */
  readonly type?: ExportType;
  /** Where the tokenizer is: a model directory, or a GGUF file. */
  readonly source: string;
  /** `general.name`. */
  readonly name?: string;
  /** Told after each tensor. */
  readonly onProgress?: (written: number, total: number) => void;
}

/**
 * Writes a model with its tokenizer. A file that was there before stays until the new one is complete and compared.
 * @returns what a person should know of it.
 * @throws ModelError when llama.cpp cannot compute the model or has no such tokenizer, or a type cannot hold its values; GgufError when the disk does not
 * take the file.
 */
export async function saveGguf(
  path: string,
  model: ExportableModel,
  options: SaveGgufOptions,
): Promise<readonly string[]> {
  const { type = 'f16', source, name, onProgress } = options;
  requirePlain(model);
  const { config } = model;
  const tokenizer = ggufOfTokenizer(await readTokenizerFiles(source), config.vocabSize, config.eosTokenIds);
  const { tensors, notices } = modelTensors(model, type);
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', string('llama')],
    ['general.type', string('model')],
    ...(name === undefined ? [] : [['general.name', string(name)] as const]),
    ['general.file_type', uint32(FILE_TYPES[type])],
    ['general.quantization_version', uint32(2)],
    ...ggufOfConfig(config),
    ...tokenizer.metadata,
  ]);
  await writeCompared(path, metadata, tensors, onProgress, async (temporary) => {
    const file = await openGguf(temporary);
    try {
      const read = parseLlamaConfig(await configOfGguf(file), temporary);
      requireSameConfig(config, read);
      // Its names and shapes as a model's loader wants them.
      weightsOfGguf(file, read.headDim);
    } finally {
      await file.close();
    }
  });
  return [...tokenizer.notices, ...notices];
}

export interface SaveGgufAdapterOptions {
  /** Default `f32`: an adapter is small. */
  readonly type?: 'f32' | 'f16' | 'bf16';
  readonly name?: string;
  readonly onProgress?: (written: number, total: number) => void;
}

/**
 * Writes an adapter alone, for `llama-cli --lora` and the like over its base.
 * @throws ModelError when it is more than LoRA; GgufError when the disk does not take the file.
 */
export async function saveGgufAdapter(
  path: string,
  peft: PeftModel<ExportableModel & PeftModel['base']>,
  { type = 'f32', name, onProgress }: SaveGgufAdapterOptions = {},
): Promise<void> {
  const { tensors, alpha } = adapterTensors(peft, peft.base.config, type);
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', string('llama')],
    ['general.type', string('adapter')],
    ['adapter.type', string('lora')],
    ['adapter.lora.alpha', float32(alpha)],
    ...(name === undefined ? [] : [['general.name', string(name)] as const]),
    ['general.file_type', uint32(FILE_TYPES[type])],
  ]);
  await writeCompared(path, metadata, tensors, onProgress, async () => {});
}

/** Writes, and before the file takes its place reads it again: metadata, names, types, shapes, and the bytes of every tensor. */
async function writeCompared(
  path: string,
  metadata: MetadataEntries,
  tensors: ReadonlyMap<string, ExportedTensor>,
  onProgress: SaveGgufOptions['onProgress'],
  check: (temporary: string) => Promise<void>,
): Promise<void> {
  const meant = new Map<string, string>();
  const lazy = [...tensors].map(([name, { type, shape, values }]): [string, LazyGgufTensor] => {
    const data = async () => {
      const bytes = encodeChecked(name, type, await values());
      meant.set(name, digest(bytes));
      onProgress?.(meant.size, tensors.size);
      return bytes;
    };
    return [name, { type, shape, data }];
  });
  await writeGguf(path, metadata, new Map(lazy), {
    check: async (temporary) => {
      await compare(temporary, path, metadata, tensors, meant);
      await check(temporary);
    },
  });
}

async function compare(
  temporary: string,
  path: string,
  metadata: MetadataEntries,
  tensors: ReadonlyMap<string, ExportedTensor>,
  meant: ReadonlyMap<string, string>,
): Promise<void> {
  const fail = (what: string): never => {
    throw new ModelError(
      `${path}: ${what} is not read as it was written; the disk may be failing, nothing was replaced`,
    );
  };
  const file = await openGguf(temporary);
  try {
    if (`${[...file.metadata.entries.keys()]}` !== `${[...metadata.keys()]}`) fail('the list of metadata');
    for (const [key, value] of metadata) if (!isSame(value, file.metadata.entries.get(key))) fail(key);
    if (`${file.names}` !== `${[...tensors.keys()]}`) fail('the list of tensors');
    for (const [name, { type, shape }] of tensors) {
      const found = file.entry(name);
      const same =
        found.type === type && `${found.shape}` === `${shape}` && digest(await file.bytes(name)) === meant.get(name);
      if (!same) fail(`tensor '${name}'`);
    }
  } finally {
    await file.close();
  }
}

const digest = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

function isSame(wanted: MetadataValue, found: MetadataValue | undefined): boolean {
  if (found?.type !== wanted.type) return false;
  if (wanted.type !== 'array' || found.type !== 'array') return Object.is(wanted.value, found.value);
  const [a, b] = [wanted.value as ArrayLike<unknown>, found.value as ArrayLike<unknown>];
  if (wanted.of !== found.of || a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return false;
  return true;
}

/** What is computed must be the same; numbers that the file has in float32 as far as those go. */
function requireSameConfig(wanted: LlamaConfig, found: LlamaConfig): void {
  const ignored = new Set(['initializerRange', 'bosTokenId', 'eosTokenIds', 'padTokenId']);
  const computed = (config: LlamaConfig) => {
    const { ropeScaling, ropeTheta, headDim } = config;
    // Several sets of numbers are the same scaling.
    return ropeScaling?.ropeType === 'llama3'
      ? { ...config, ropeScaling: ropeFactors(headDim, ropeTheta, ropeScaling) }
      : config;
  };
  const [ours, theirs] = [computed(wanted), computed(found)];
  for (const key of Object.keys(wanted) as (keyof LlamaConfig)[]) {
    if (ignored.has(key) || isClose(ours[key], theirs[key])) continue;
    throw new ModelError(
      `the model cannot be written as GGUF: ${key} is ${showValue(wanted[key])} and would be ${showValue(found[key])} in the file`,
    );
  }
}

function isClose(a: unknown, b: unknown): boolean {
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= 1e-4 * Math.abs(a);
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return Object.is(a, b);
  return Object.keys(a).every((key) =>
    isClose((a as Record<string, unknown>)[key], (b as Record<string, unknown>)[key]),
  );
}

/** Rounded weights are not written for the original ones. */
function requirePlain({ tensors }: ExportableModel): void {
  const first = [...tensors].find(([, tensor]) => formOf(tensor) !== null);
  if (!first) return;
  throw new ModelError(
    `'${first[0]}' is in ${formOf(first[1])}: load the model without basePrecision to write it as it came`,
  );
}
