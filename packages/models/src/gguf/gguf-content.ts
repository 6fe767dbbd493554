/**
 * @file What a GGUF file of a model, or of an adapter alone, is to hold, and how a written one is held against that: opened as any other would be and compared,
 * tensor by tensor, before success is said. Where the file lies is the caller's affair (`/node` writes to a disk, a page to its storage).
 */
import {
  float32,
  type GgufFile,
  type LazyGgufTensor,
  type MetadataEntries,
  type MetadataValue,
  string,
  uint32,
} from '@spft/gguf';
import type { PeftModel } from '@spft/peft';
import { showValue } from '@spft/safetensors';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { formOf } from '@spft/sparse-ops/internals';
import { ModelError } from '../errors.js';
import { type LlamaConfig, parseLlamaConfig } from '../llama-config.js';
import type { TokenizerFiles } from '../tokenizer/hugging-face-tokenizer.js';
import { configOfGguf } from './config-of-gguf.js';
import {
  adapterTensors,
  type ExportableModel,
  type ExportedTensor,
  type ExportType,
  encodeChecked,
  FILE_TYPES,
  modelTensors,
} from './export-tensors.js';
import { ggufOfConfig } from './gguf-of-config.js';
import { ggufOfTokenizer } from './gguf-of-tokenizer.js';
import { ropeFactors } from './rope-factors.js';
import { weightsOfGguf } from './weights-of-gguf.js';

export interface GgufContentOptions<Type extends ExportType = ExportType> {
  /** Default `f16` for a model, `f32` for an adapter. */
  readonly type?: Type;
  /** `general.name`. */
  readonly name?: string;
  /** Told after each tensor. */
  readonly onProgress?: (written: number, total: number) => void;
}

export const GGUF_CONTENT_OPTIONS: OptionNames<GgufContentOptions> = { type: true, name: true, onProgress: true };

/** A file that is to be written. */
export interface GgufContent {
  readonly metadata: MetadataEntries;
  /** Each makes its bytes when its turn comes, once. */
  readonly tensors: ReadonlyMap<string, LazyGgufTensor>;
  /** What a person should know of it. */
  readonly notices: readonly string[];
  /**
   * Compares a file, after all tensors have been made, with what was meant: metadata, names, types, shapes, and the bytes of every tensor.
   * @param name of the file, for messages.
   * @throws ModelError when something differs.
   */
  compare(file: GgufFile, name: string): Promise<void>;
}

/**
 * A model with its tokenizer.
 * @throws ModelError when llama.cpp cannot compute the model or has no such tokenizer; a tensor's `data` where the type cannot hold its values.
 */
export function ggufOfModel(
  model: ExportableModel,
  tokenizerFiles: TokenizerFiles,
  options: GgufContentOptions = {},
): GgufContent {
  assertKnownOptions('ggufOfModel', options, GGUF_CONTENT_OPTIONS);
  const { type = 'f16', name, onProgress } = options;
  requirePlain(model);
  const { config } = model;
  const tokenizer = ggufOfTokenizer(tokenizerFiles, config.vocabSize, config.eosTokenIds);
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
  const check = async (file: GgufFile, fileName: string) => {
    const read = parseLlamaConfig(await configOfGguf(file), fileName);
    requireSameConfig(config, read);
    // Its names and shapes as a model's loader wants them.
    weightsOfGguf(file, read.headDim);
  };
  return contentOf(metadata, tensors, [...tokenizer.notices, ...notices], check, onProgress);
}

/**
 * An adapter alone, for `llama-cli --lora` and the like over its base.
 * @throws ModelError when it is more than LoRA.
 */
export function ggufOfAdapter(
  peft: PeftModel<ExportableModel & PeftModel['base']>,
  options: GgufContentOptions<'f32' | 'f16' | 'bf16'> = {},
): GgufContent {
  assertKnownOptions('ggufOfAdapter', options, GGUF_CONTENT_OPTIONS);
  const { type = 'f32', name, onProgress } = options;
  const { tensors, alpha } = adapterTensors(peft, peft.base.config, type);
  const metadata = new Map<string, MetadataValue>([
    ['general.architecture', string('llama')],
    ['general.type', string('adapter')],
    ['adapter.type', string('lora')],
    ['adapter.lora.alpha', float32(alpha)],
    ...(name === undefined ? [] : [['general.name', string(name)] as const]),
    ['general.file_type', uint32(FILE_TYPES[type])],
  ]);
  return contentOf(metadata, tensors, [], async () => {}, onProgress);
}

function contentOf(
  metadata: MetadataEntries,
  exported: ReadonlyMap<string, ExportedTensor>,
  notices: readonly string[],
  check: (file: GgufFile, name: string) => Promise<void>,
  onProgress: GgufContentOptions['onProgress'],
): GgufContent {
  const meant = new Map<string, string>();
  const lazy = [...exported].map(([name, { type, shape, values }]): [string, LazyGgufTensor] => {
    const data = async () => {
      const bytes = encodeChecked(name, type, await values());
      meant.set(name, await digest(bytes));
      onProgress?.(meant.size, exported.size);
      return bytes;
    };
    return [name, { type, shape, data }];
  });
  const tensors = new Map(lazy);
  const compare = async (file: GgufFile, path: string) => {
    const fail = (what: string): never => {
      throw new ModelError(
        `${path}: ${what} is not read as it was written; the disk may be failing, nothing was replaced`,
      );
    };
    if (`${[...file.metadata.entries.keys()]}` !== `${[...metadata.keys()]}`) fail('the list of metadata');
    for (const [key, value] of metadata) if (!isSame(value, file.metadata.entries.get(key))) fail(key);
    if (`${file.names}` !== `${[...tensors.keys()]}`) fail('the list of tensors');
    for (const [name, { type, shape }] of tensors) {
      const found = file.entry(name);
      const same =
        found.type === type &&
        `${found.shape}` === `${shape}` &&
        (await digest(await file.bytes(name))) === meant.get(name);
      if (!same) fail(`tensor '${name}'`);
    }
    await check(file, path);
  };
  return { metadata, tensors, notices, compare };
}

async function digest(bytes: Uint8Array): Promise<string> {
  return `${new Uint32Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>))}`;
}

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
