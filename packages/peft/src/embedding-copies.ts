/**
 * @file What of the embedding and the head lies in an adapter's file. PEFT saves copies of both beside a LoRA where it thinks that they may
 * have been resized (`save_embedding_layers`); copies equal to the model's say nothing new, others are trained weights.
 */
import {
  bfloat16ToFloat32,
  float16ToFloat32,
  float32ToBfloat16,
  float32ToFloat16,
  type SafetensorsFile,
} from '@spft/safetensors';
import * as tf from '@tensorflow/tfjs';
import type { AdapterHost } from './types.js';

const COPY = /^base_model\.model\.((?:.+\.)?embed_tokens\.weight|lm_head\.weight)$/;

/** Whether a tensor of this name is a LoRA's on the embedding or the head. */
export const isEmbeddingAdapter = (name: string): boolean =>
  /\b(?:embed_tokens|lm_head)\.(?:lora_|base_layer)/.test(name);

/** Whether a tensor of this name would be a copy of the embedding or of the head. */
export const isEmbeddingCopy = (name: string): boolean => COPY.test(name);

const CHUNK = 2 ** 22;
const BYTES = { F32: 4, F16: 2, BF16: 2 } as const;

/**
 * Why the tensor `name` of `file` is no copy of the model's, or null where it is one, value for value as precisely as the file has them.
 * Reads a few rows at a time.
 */
export async function differenceFromModel(
  model: AdapterHost,
  file: SafetensorsFile,
  name: string,
): Promise<string | null> {
  const inModel = COPY.exec(name)?.[1];
  if (inModel === undefined || !model.tensors) return 'the model does not show its own';
  // A tied head is the embedding.
  const tied = inModel === 'lm_head.weight' ? 'model.embed_tokens.weight' : inModel;
  const tensor = model.tensors.get(inModel) ?? model.tensors.get(tied);
  if (!tensor) return 'the model has none of that name';
  const { dtype, shape } = file.entry(name);
  if (`${shape}` !== `${tensor.shape}`) return `[${shape}] in the file, [${tensor.shape}] in the model`;
  if (!(dtype === 'F32' || dtype === 'F16' || dtype === 'BF16')) return `of dtype ${dtype}`;
  const [rows, width] = tensor.shape as [number, number];
  const step = Math.max(1, Math.floor(CHUNK / width));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    const part = tf.tidy(() => tf.slice(tensor as tf.Tensor2D, [row, 0], [count, width]));
    let own: Float32Array;
    try {
      own = Float32Array.from((await part.data()) as Float32Array);
    } finally {
      part.dispose();
    }
    const bytes = await file.bytes(name, row * width * BYTES[dtype], (row + count) * width * BYTES[dtype]);
    const theirs = floats(bytes, dtype);
    const rounded = dtype === 'F32' ? own : floats(roundedBytes(own, dtype), dtype);
    for (let i = 0; i < own.length; i++) {
      if (theirs[i] !== rounded[i])
        return `trained: other values than the model's from row ${row + Math.floor(i / width)} on`;
    }
  }
  return null;
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
