/** @file What of a model or an adapter goes into a GGUF file: tensors by llama.cpp's names, rows in its order, values in the wanted type. */
import { DECODED_TYPES, type DecodedType, decode, type EncodedType, encode, GGML_TYPES } from '@spft/gguf';
import type { PeftModel } from '@spft/peft';
import { elementCount } from '@spft/safetensors';
import type * as tf from '@tensorflow/tfjs';
import { ModelError } from '../errors.js';
import { type LlamaConfig, llamaTensors } from '../llama-config.js';
import { ropeFactors } from './rope-factors.js';
import { ggufName, hasOtherRows, toGgufRows } from './tensor-names.js';

/** A tensor of a GGUF file, whose values are made when its turn comes. */
export interface ExportedTensor {
  readonly type: EncodedType;
  readonly shape: readonly number[];
  /** In llama.cpp's order, float32. */
  readonly values: () => Promise<Float32Array>;
}

/** Types in which a model can be written. */
export const EXPORT_TYPES = ['f16', 'bf16', 'f32', 'q8_0', 'q4_0'] as const;
export type ExportType = (typeof EXPORT_TYPES)[number];

/** `general.file_type`: llama.cpp's `llama_ftype`. */
export const FILE_TYPES: Readonly<Record<ExportType, number>> = { f32: 0, f16: 1, q4_0: 2, q8_0: 7, bf16: 32 };

const encodedType = (type: ExportType): EncodedType => type.toUpperCase() as EncodedType;

/** What is written of a model: `LlamaForCausalLM` has it. */
export interface ExportableModel {
  readonly config: LlamaConfig;
  readonly tensors: ReadonlyMap<string, tf.Tensor>;
}

/**
 * Tensors of a model. Vectors are written in float32, as llama.cpp wants them; embedding and head of a `q4_0` file in Q8_0, as more depends on them; and
 * matrices whose rows are no whole blocks in F16.
 * @throws ModelError when the model lacks tensors.
 */
export function modelTensors(
  model: ExportableModel,
  type: ExportType,
): { tensors: Map<string, ExportedTensor>; notices: string[] } {
  const { config } = model;
  const tensors = new Map<string, ExportedTensor>();
  const unfit: string[] = [];
  for (const [name, shape] of llamaTensors(config)) {
    const tensor = model.tensors.get(name);
    if (!tensor || tensor.size !== elementCount(shape)) {
      throw new ModelError(
        `the model ${tensor ? `has '${name}' as [${tensor.shape}]` : `lacks '${name}'`}, its config calls for [${shape}]`,
      );
    }
    let chosen: EncodedType = shape.length === 1 ? 'F32' : encodedType(type);
    if (chosen === 'Q4_0' && !name.startsWith('model.layers.')) chosen = 'Q8_0';
    if (shape.at(-1)! % GGML_TYPES[chosen].blockSize !== 0) {
      unfit.push(name);
      chosen = 'F16';
    }
    const values = async () => inOrder(name, (await tensor.data()) as Float32Array, shape[1] ?? 1, config.headDim);
    tensors.set(ggufName(name)!, { type: chosen, shape, values });
  }
  if (config.ropeScaling?.ropeType === 'llama3') {
    const factors = ropeFactors(config.headDim, config.ropeTheta, config.ropeScaling);
    tensors.set('rope_freqs.weight', { type: 'F32', shape: [factors.length], values: async () => factors });
  }
  const notices =
    unfit.length === 0
      ? []
      : [
          `'${unfit[0]}'${unfit.length > 1 ? ` and ${unfit.length - 1} others are` : ' is'} written in f16: rows that are no multiple of 32 have no blocks`,
        ];
  return { tensors, notices };
}

/** What is written of an adapter, and what of it llama.cpp multiplies by alpha / r. */
export interface AdapterTensors {
  readonly tensors: Map<string, ExportedTensor>;
  readonly alpha: number;
}

/**
 * A and B of every layer. Where layers are scaled differently (rank_pattern, alpha_pattern, rank-stabilised LoRA with several ranks), which one alpha
 * cannot say, the difference is in B.
 * @throws ModelError when the adapter is more than A and B: llama.cpp adds B·A and nothing else.
 */
export function adapterTensors(peft: PeftModel, config: LlamaConfig, type: 'f32' | 'f16' | 'bf16'): AdapterTensors {
  const saved = [...peft.parameters.keys()].filter((name) => !/\.lora_[AB]\.weight$/.test(name));
  if (peft.method.name !== 'lora' || saved.length > 0) {
    const found = peft.method.name === 'lora' ? `has '${saved[0]}' besides A and B` : `is ${peft.method.name}`;
    throw new ModelError(
      `the adapter ${found}, and llama.cpp's adapters are LoRA's A and B alone: export the merged model (without --lora)`,
    );
  }
  const layers = [...peft.adapters].map(([name, adapter]) => {
    const branch = adapter.branch?.({ training: false, seed: 0 });
    if (!branch)
      throw new ModelError(
        `the adapter on '${name}' is no sum of base and B·A: export the merged model (without --lora)`,
      );
    return { name, a: branch.a, b: branch.b, rank: branch.a.shape[0], scaling: branch.scaling };
  });
  if (peft.adapters.has('lm_head') && config.tieWordEmbeddings) {
    throw new ModelError(
      "the adapter is on the head, which is the embedding in this model, and llama.cpp's adapters have no place for it: export the merged model (without --lora)",
    );
  }
  const [first] = layers;
  if (first === undefined) throw new ModelError('the adapter is on no layer');
  const alpha = Math.fround(first.scaling * first.rank);
  const tensors = new Map<string, ExportedTensor>();
  for (const { name, a, b, rank, scaling } of layers) {
    const stem = `${ggufName(name)!}.weight`;
    const by = (scaling * rank) / alpha;
    const values = async (tensor: tf.Tensor) => (await tensor.data()) as Float32Array;
    tensors.set(`${stem}.lora_a`, { type: encodedType(type), shape: a.shape, values: () => values(a) });
    tensors.set(`${stem}.lora_b`, {
      type: encodedType(type),
      shape: b.shape,
      // B's rows are the layer's outputs.
      values: async () => {
        const rows = inOrder(name, await values(b), rank, config.headDim);
        return by === 1 ? rows : rows.map((value) => value * by);
      },
    });
  }
  return { tensors, alpha };
}

const inOrder = (name: string, values: Float32Array, columns: number, headDim: number): Float32Array =>
  hasOtherRows(name) ? toGgufRows(values, columns, headDim) : values;

/** Greatest relative distance of a value from what is read of it, to the value in 16 bits, to the greatest of its block in blocks. */
const ROUNDING: Readonly<Record<EncodedType, number>> = {
  F32: 0,
  F16: 2 ** -11,
  BF16: 2 ** -8,
  Q8_0: 0.5 / 127 + 2 ** -9,
  // The code -8 has no counterpart 8, so that the greatest of the other sign is off by a whole step.
  Q4_0: 1 / 8 + 2 ** -9,
};
/** Half precision's smallest step. */
const HALF_STEP = 2 ** -24;

/**
 * A tensor's bytes in a type, read again and compared.
 * @throws ModelError when a value is not finite, or the type cannot hold it.
 */
export function encodeChecked(name: string, type: EncodedType, values: Float32Array): Uint8Array {
  const bytes = encode(type, values);
  const again = new Float32Array(values.length);
  decode(type as DecodedType, bytes, again);
  const { blockSize } = GGML_TYPES[type];
  const rounding = ROUNDING[type];
  // A block's scale may be a half-precision number below the smallest normal one: then codes are steps of it.
  const floor =
    type === 'F32' || type === 'BF16' ? 0 : blockSize === 1 ? HALF_STEP : HALF_STEP * (type === 'Q8_0' ? 128 : 9);
  for (let from = 0; from < values.length; from += blockSize) {
    let most = 0;
    for (let i = from; i < from + blockSize; i++) most = Math.max(most, Math.abs(values[i]!));
    for (let i = from; i < from + blockSize; i++) {
      // Not `>`: NaN is refused too.
      if (Math.abs(again[i]! - values[i]!) <= rounding * most + floor) continue;
      const advice = Number.isFinite(values[i]!) ? 'choose --type bf16' : 'the model computes nothing but NaN';
      throw new ModelError(
        `'${name}': element ${i} is ${values[i]}, of which ${type} makes ${again[i]}; ${advice} (types that are read again: ${DECODED_TYPES.slice(0, 3).join(', ')} and blocks)`,
      );
    }
  }
  return bytes;
}
