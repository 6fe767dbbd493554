/** @file Writing a model as a Hugging Face directory: after merging an adapter, or one with random weights. */
import { copyFile, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { elementCount } from '@spft/safetensors';
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import {
  directoryFiles,
  type LazyTensorToWrite,
  leftoversOf,
  makeDirectory,
  removeLeftovers,
  type TensorsToWrite,
  temporaryPath,
  writeFileAtomically,
  writeSafetensorsModel,
} from '@spft/safetensors/node';
import { formOf, packedArrays, packedKind } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';
import { checkpointParts, checkpointSpecs, quantizationJson } from '../bitsandbytes.js';
import { ModelError } from '../errors.js';
import { readJsonObjectIfThere } from '../json-file.js';
import { SCORE } from '../llama-classifier.js';
import { type LlamaConfig, llamaConfigJson, llamaTensors } from '../llama-config.js';
import { effectiveRopeKey } from '../rope-config.js';
import { isGgufFile, readGgufTokenizer } from './gguf/open-gguf-model.js';
import { COPIED, isReplaceable, TEMPLATES } from './replaceable.js';

/** What is written of a model; `LlamaForCausalLM` has it. */
export interface SavableModel {
  readonly config: LlamaConfig;
  /** Every frozen tensor by its name in a checkpoint. */
  readonly tensors: ReadonlyMap<string, tf.Tensor>;
  /**
   * Classes of a classifier (1: a regression), which is written as transformers' `LlamaForSequenceClassification`: its head `score.weight`, among
   * `tensors`, stands in the place of `lm_head.weight`.
   */
  readonly classes?: number;
}

export interface SaveModelOptions {
  /** Type of the weights in the file; `bf16` rounds to the nearest. Default `bf16`, as the hub's models mostly are. */
  readonly dtype?: 'bf16' | 'f32';
  /**
   * Writes weights that are in a form as the numbers that the form has, which are not those that the model came with. Default false: a model in FP8 is refused,
   * and matrices in 4 bits are written as their codes, as bitsandbytes and transformers have them.
   */
  readonly fromForms?: boolean;
  /**
   * The model's original directory: its config.json is kept but for the dtype, and generation config and tokenizer files are copied. Of a GGUF file the
   * tokenizer is written as a directory has it.
   */
  readonly source?: string;
  /** Weights are divided into files of at most this size. Default 5e9. */
  readonly maxShardBytes?: number;
  /** Told after each tensor. */
  readonly onProgress?: (written: number, total: number) => void;
}

const OPTIONS: OptionNames<SaveModelOptions> = {
  ...{ dtype: true, fromForms: true, source: true },
  ...{ maxShardBytes: true, onProgress: true },
};

const EMBEDDING = 'model.embed_tokens.weight';

/**
 * Writes config.json, weights, and what `source` has of generation config and tokenizer. The directory appears whole or not at all; one of
 * that name is replaced if it holds a model and nothing else, or is empty, and stays as it was when anything fails before.
 * @throws RangeError when `dir` is empty, which would be the working directory.
 * @throws ModelError when something else is at `dir`, or in it, the model lacks tensors, or has some in a form that `fromForms` does not allow.
 * @throws SafetensorsError when the disk does not take it.
 */
export async function saveModel(dir: string, model: SavableModel, options: SaveModelOptions = {}): Promise<void> {
  assertKnownOptions('saveModel', options, OPTIONS);
  const { dtype = 'bf16', source, maxShardBytes, fromForms = false } = options;
  if (dir === '') throw new RangeError('saveModel: wanted the name of a directory, found an empty one');
  if (!fromForms) requireWritable(model);
  const target = resolve(dir);
  await clearLeftovers(target);
  const replaced = await isReplaceable(target);
  await makeDirectory(dirname(target));
  const fromGguf = source !== undefined && (await isGgufFile(source));
  const fresh = temporaryPath(target);
  const old = temporaryPath(target, 'old');
  try {
    await mkdir(fresh);
    const json =
      (source === undefined || fromGguf
        ? undefined
        : await readJsonObjectIfThere(directoryFiles(source), 'config.json')) ?? llamaConfigJson(model.config);
    await writeJson(
      join(fresh, 'config.json'),
      withQuantization(
        withDtype(withHead(consistent(json, model.config), model.classes), dtype === 'bf16' ? 'bfloat16' : 'float32'),
        fromForms ? null : quantizationOf(model),
      ),
    );
    if (source !== undefined) await (fromGguf ? writeTokenizer(source, fresh) : copyBesideWeights(source, fresh));
    await writeSafetensorsModel(
      fresh,
      tensorsToWrite(model, dtype, fromForms, options.onProgress),
      { format: 'pt' },
      maxShardBytes,
    );
    if (replaced) await rename(target, old);
    try {
      await rename(fresh, target);
    } catch (error) {
      if (replaced) await rename(old, target);
      throw error;
    }
    if (replaced) await rm(old, { recursive: true });
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    throw error;
  }
}

/** What killed processes left: a model half written goes; one that was set aside gets its name back where the new one never took it. */
async function clearLeftovers(target: string): Promise<void> {
  await removeLeftovers(target);
  const there = await stat(target).catch(() => null);
  const [first] = there ? [] : await leftoversOf(target, 'old');
  if (first !== undefined) await rename(first, target);
  await removeLeftovers(target, 'old');
}

/** Rounded weights are not written for the original ones unasked, but for codes that others read as such. */
function requireWritable({ tensors }: SavableModel): void {
  const embedding = tensors.get(EMBEDDING);
  if (embedding && packedKind(embedding)) {
    throw new ModelError(
      `'${EMBEDDING}' is in 4 bits, in which transformers has no embedding: nothing else could read that; load the model without quantiseEmbeddings ` +
        '(bnb_4bit_embeddings), or pass fromForms to write the numbers that it stands for',
    );
  }
  const [first, ...others] = [...tensors].filter(([, tensor]) => formOf(tensor) !== null && !packedKind(tensor));
  if (!first) return;
  throw new ModelError(
    `'${first[0]}'${others.length > 0 ? ` and ${others.length} other weights are` : ' is'} in ${formOf(first[1])}: what would be written are numbers ` +
      'rounded to that. Load the model without basePrecision to write it as it came, or pass fromForms to write what is there',
  );
}

/** What config.json says of matrices in 4 bits, and of linear layers that are not; null where none is. */
function quantizationOf({ tensors }: SavableModel): Record<string, unknown> | null {
  const kinds = [...tensors.values()].flatMap((tensor) => packedKind(tensor) ?? []);
  if (kinds.length === 0) return null;
  const plain = [...tensors].filter(([, tensor]) => tensor.shape.length === 2 && !packedKind(tensor));
  const { type, attributes } = kinds[0]!;
  return {
    ...quantizationJson({ type, doubleQuantisation: attributes.nestedBlockSize > 0, computeDtype: 'bfloat16' }),
    llm_int8_skip_modules: plain.flatMap(([name]) => (name === EMBEDDING ? [] : name.replace(/\.weight$/, ''))),
  };
}

function withQuantization(json: Record<string, unknown>, quantization: Record<string, unknown> | null) {
  // That of the source is not of what is written.
  const { quantization_config: _, ...rest } = json;
  return quantization ? { ...rest, quantization_config: quantization } : rest;
}

function tensorsToWrite(
  { config, tensors, classes }: SavableModel,
  dtype: 'bf16' | 'f32',
  fromForms: boolean,
  onProgress: SaveModelOptions['onProgress'],
): TensorsToWrite {
  const wanted = new Map(llamaTensors(config));
  if (classes !== undefined) {
    wanted.delete('lm_head.weight');
    wanted.set(SCORE, [classes, config.hiddenSize]);
  }
  let written = 0;
  return Object.fromEntries(
    [...wanted].flatMap(([name, shape]): [string, LazyTensorToWrite][] => {
      const tensor = tensors.get(name);
      if (!tensor || tensor.size !== elementCount(shape)) {
        throw new ModelError(
          `the model ${tensor ? `has '${name}' as [${tensor.shape}]` : `lacks '${name}'`}, its config calls for [${shape}]`,
        );
      }
      const kind = fromForms ? null : packedKind(tensor);
      if (kind) {
        // Read again for each part: codes of all matrices at once would be the whole model in the host's memory.
        const read = async (part: string) => {
          if (part === '') onProgress?.(++written, wanted.size);
          return checkpointParts((await packedArrays(tensor as tf.Tensor2D))!).get(part)!.data;
        };
        return [...checkpointSpecs(kind)].map(([part, spec]) => [
          `${name}${part}`,
          { ...spec, data: () => read(part) },
        ]);
      }
      const data = async () => {
        const values = (await tensor.data()) as Float32Array;
        onProgress?.(++written, wanted.size);
        return values;
      };
      return [[name, { dtype: dtype === 'bf16' ? 'BF16' : 'F32', shape, data }]];
    }),
  );
}

/**
 * A source's config.json without what contradicts the model that is written: transformers would compute another one. Where both dialects of
 * RoPE are there, only the one that counts stays, with its base; a head of its own is not called tied.
 */
function consistent(json: Readonly<Record<string, unknown>>, config: LlamaConfig): Record<string, unknown> {
  const { rope_parameters: parameters, rope_scaling: scaling, ...rest } = json;
  const hasBoth = parameters != null && scaling !== undefined;
  const rope = !hasBoth
    ? {
        ...('rope_parameters' in json ? { rope_parameters: parameters } : {}),
        ...('rope_scaling' in json ? { rope_scaling: scaling } : {}),
      }
    : effectiveRopeKey(json) === 'rope_scaling'
      ? { rope_scaling: scaling, rope_theta: (scaling as { rope_theta?: unknown }).rope_theta ?? config.ropeTheta }
      : { rope_parameters: parameters };
  const tied = rest.tie_word_embeddings === true && !config.tieWordEmbeddings ? { tie_word_embeddings: false } : {};
  return { ...rest, ...rope, ...tied };
}

/** A classifier's config: its architecture and its classes, under transformers' own names for them. */
function withHead(json: Readonly<Record<string, unknown>>, classes: number | undefined): Record<string, unknown> {
  if (classes === undefined) return { ...json };
  const labels = Array.from({ length: classes }, (_, n) => `LABEL_${n}`);
  return {
    ...json,
    architectures: ['LlamaForSequenceClassification'],
    id2label: Object.fromEntries(labels.map((label, n) => [n, label])),
    label2id: Object.fromEntries(labels.map((label, n) => [label, n])),
    problem_type: classes === 1 ? 'regression' : 'single_label_classification',
  };
}

/** The key is `dtype` since transformers 4.56, `torch_dtype` before. */
function withDtype(json: Readonly<Record<string, unknown>>, dtype: string): Record<string, unknown> {
  const key = 'torch_dtype' in json && !('dtype' in json) ? 'torch_dtype' : 'dtype';
  const { torch_dtype, ...rest } = json;
  return key === 'dtype' ? { ...rest, dtype } : { ...rest, torch_dtype: dtype };
}

async function copyBesideWeights(from: string, to: string): Promise<void> {
  const files = await readdir(from);
  for (const file of COPIED.filter((f) => files.includes(f))) await copyFile(join(from, file), join(to, file));
  if (!files.includes(TEMPLATES)) return;
  await mkdir(join(to, TEMPLATES));
  for (const file of await readdir(join(from, TEMPLATES))) {
    if (file.endsWith('.jinja')) await copyFile(join(from, TEMPLATES, file), join(to, TEMPLATES, file));
  }
}

/** The tokenizer of a GGUF file, as a directory has it. */
async function writeTokenizer(from: string, to: string): Promise<void> {
  const { tokenizer, config } = await readGgufTokenizer(from);
  await writeJson(join(to, 'tokenizer.json'), tokenizer);
  await writeJson(join(to, 'tokenizer_config.json'), config);
}

function writeJson(path: string, json: unknown): Promise<void> {
  return writeFileAtomically(path, (handle) => handle.writeFile(`${JSON.stringify(json, null, 2)}\n`));
}
