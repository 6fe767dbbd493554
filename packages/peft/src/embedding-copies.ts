/**
 * @file What of the embedding and the head lies in an adapter's file. PEFT saves copies of both beside a LoRA where it thinks that they may
 * have been resized, and of those that are adapted (`save_embedding_layers`); copies equal to the model's say nothing new, others are trained
 * weights.
 */
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  type SafetensorsFile,
} from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import type { AdapterTensor } from './adapter-tensor.js';
import { toFileName } from './names.js';
import type { PeftModel } from './peft-model.js';
import { TRAINED_WEIGHT } from './trained-module.js';
import type { AdapterHost } from './types.js';

const EMBEDDINGS = ['embed_tokens', 'lm_head'];

const COPY = /^base_model\.model\.((?:.+\.)?embed_tokens|lm_head)\.(?:base_layer\.)?weight$/;

/** Whether a tensor of this name is a LoRA's on the embedding or the head. */
export const isEmbeddingAdapter = (name: string): boolean => /\b(?:embed_tokens|lm_head)\.lora_/.test(name);

/** Whether a tensor of this name would be a copy of the embedding or of the head. */
export const isEmbeddingCopy = (name: string): boolean => COPY.test(name);

const CHUNK = 2 ** 22;
const BYTES = { F32: 4, F16: 2, BF16: 2 } as const;

/**
 * Why the tensor `name` of `file` is no copy of the model's, or null where it is one, value for value as precisely as both have them.
 * Reads a few rows at a time.
 */
export async function differenceFromModel(
  model: AdapterHost,
  file: SafetensorsFile,
  name: string,
): Promise<string | null> {
  const module = COPY.exec(name)?.[1];
  if (module === undefined || !model.tensors) return 'the model does not show its own';
  // A tied head is the embedding.
  const tied = module === 'lm_head' ? 'model.embed_tokens' : module;
  const tensor = model.tensors.get(`${module}.weight`) ?? model.tensors.get(`${tied}.weight`);
  if (!tensor) return 'the model has none of that name';
  const { dtype, shape } = file.entry(name);
  if (`${shape}` !== `${tensor.shape}`) return `[${shape}] in the file, [${tensor.shape}] in the model`;
  if (!(dtype === 'F32' || dtype === 'F16' || dtype === 'BF16')) return `of dtype ${dtype}`;
  const width = tensor.shape[1]!;
  for await (const { row, values: own } of rowsOf(tensor as tf.Tensor2D)) {
    const from = row * width * BYTES[dtype];
    const theirs = floats(await file.bytes(name, from, from + own.length * BYTES[dtype]), dtype);
    const rounded = dtype === 'F32' ? own : floats(roundedBytes(own, dtype), dtype);
    // A backend that keeps weights in bfloat16 has rounded what it read of the base's file.
    const coarse = fitsBfloat16(own) ? floats(roundedBytes(theirs, 'BF16'), 'BF16') : null;
    for (let i = 0; i < own.length; i++) {
      if (theirs[i] !== rounded[i] && coarse?.[i] !== own[i])
        return `trained: other values than the model's from row ${row + Math.floor(i / width)} on`;
    }
  }
  return null;
}

/** Values of a matrix, a few rows at a time. */
async function* rowsOf(tensor: tf.Tensor2D): AsyncGenerator<{ readonly row: number; readonly values: Float32Array }> {
  const [rows, width] = tensor.shape;
  const step = Math.max(1, Math.floor(CHUNK / width));
  for (let row = 0; row < rows; row += step) {
    const part = tf.tidy(() => tf.slice(tensor, [row, 0], [Math.min(step, rows - row), width]));
    try {
      yield { row, values: Float32Array.from(await part.data()) };
    } finally {
      part.dispose();
    }
  }
}

/**
 * The copies that PEFT saves with an adapter (`save_embedding_layers="auto"`): of the adapted ones of embedding and head, where target_modules
 * names them by those words or by an expression. In bfloat16 where that loses nothing.
 */
export async function embeddingCopies(peft: PeftModel): Promise<Record<string, AdapterTensor>> {
  const { targetModules } = peft.config;
  const copies: Record<string, AdapterTensor> = {};
  const isNamed = typeof targetModules === 'string' || targetModules.some((name) => EMBEDDINGS.includes(name));
  const { input, output } = peft.base.embeddings ?? {};
  for (const module of [input, output]) {
    const adapter = module === input ? peft.embedding : peft.adapters.get(output?.name ?? '');
    if (!module || !adapter || !isNamed || adapter.variables.has(TRAINED_WEIGHT)) continue;
    const weight = peft.frozenWeight(module.name);
    // Merged for good: what is there is no copy of the base's.
    if (!weight) continue;
    const dtype = (await allFitBfloat16(weight)) ? 'BF16' : 'F32';
    const data = async () => Float32Array.from(await weight.data());
    copies[toFileName(`${module.name}.base_layer.weight`)] = { dtype, shape: weight.shape, data };
  }
  return copies;
}

async function allFitBfloat16(weight: tf.Tensor2D): Promise<boolean> {
  for await (const { values } of rowsOf(weight)) if (!fitsBfloat16(values)) return false;
  return true;
}

/** @param values with a buffer of their own. */
function fitsBfloat16(values: Float32Array): boolean {
  return new Uint32Array(values.buffer).every((bits) => (bits & 0xffff) === 0);
}

function roundedBytes(values: Float32Array, dtype: 'F16' | 'BF16'): Uint8Array {
  const halves = dtype === 'BF16' ? float32ToBfloat16(values) : float32ToFloat16(values);
  return new Uint8Array(halves.buffer);
}

/** @param bytes with a buffer of their own, as files give them. */
function floats(bytes: Uint8Array, dtype: keyof typeof BYTES): Float32Array {
  if (dtype === 'F32') return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  const values = new Float32Array(halves.length);
  (dtype === 'BF16' ? bfloat16ToFloat32 : float16ToFloat32)(halves, values);
  return values;
}
