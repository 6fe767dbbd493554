/**
 * @file What `weightMemory` says that a model's weights will take is what a backend counts when they are there. A suite apart, as backends that count for
 * themselves run it among their own tests.
 */
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16 } from '@spft/safetensors';
import { packedKind, storedMatrixOf } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { LlamaForCausalLM } from '../src/llama.js';
import type { LoadOptions } from '../src/load-options.js';
import type { WeightSource } from '../src/types.js';
import { weightMemory } from '../src/weight-memory.js';
import { TINY, tinyWeights } from './tiny.js';

/** Rows in blocks of 64, as 4 bits want them; an odd number of them in some matrices. */
const CONFIG = { ...TINY, vocabSize: 37, hiddenSize: 64, intermediateSize: 192, headDim: 32, attentionBias: true };

type Dtype = 'F32' | 'BF16' | 'F16';

/** A checkpoint in memory, in one type. */
function sourceIn(dtype: Dtype): WeightSource {
  const weights = tinyWeights(CONFIG);
  // Of float16 any bits do that are numbers: what they are is no matter.
  const halvesOf = (name: string) => float32ToBfloat16(weights.get(name)!.data).map((bits) => bits & 0x7bff);
  const floats = (name: string) => {
    if (dtype === 'F32') return weights.get(name)!.data;
    const halves = halvesOf(name);
    const values = new Float32Array(halves.length);
    (dtype === 'BF16' ? bfloat16ToFloat32 : float16ToFloat32)(halves, values);
    return values;
  };
  return {
    names: [...weights.keys()],
    entry: (name) => ({ dtype, shape: weights.get(name)!.shape }),
    float32: async (name) => floats(name),
    bytes: async (name, from = 0, to) =>
      new Uint8Array(dtype === 'F32' ? floats(name).slice().buffer : halvesOf(name).buffer).slice(from, to),
  };
}

type Weights = readonly [title: string, dtype: Dtype, options: LoadOptions];

export const PLAIN: readonly Weights[] = (['F32', 'BF16', 'F16'] as const).map((dtype) => [`of ${dtype}`, dtype, {}]);
const ALL: readonly Weights[] = [
  ...PLAIN,
  ['in nf4', 'BF16', { basePrecision: 'nf4' }],
  ['in fp4, scales in 8 bits', 'F32', { basePrecision: 'fp4', doubleQuantisation: true }],
  ['in nf4, embeddings too', 'F16', { basePrecision: 'nf4', quantiseEmbeddings: true }],
];

/** All tensors of a model, of matrices in 4 bits those that they consist of. */
const tensorsOf = (model: LlamaForCausalLM): tf.TensorInfo[] =>
  [...new Set(model.tensors.values())].flatMap((tensor): tf.TensorInfo[] => {
    const stored = storedMatrixOf(tensor) as { packed?: { tensors: Record<string, tf.Tensor> } } | null;
    return stored?.packed ? Object.values(stored.packed.tensors) : [tensor];
  });

/**
 * @param counted bytes that the active backend holds now.
 * @param settle brings a tensor to where it is counted.
 */
export function weightMemorySuite(
  counted: () => number,
  settle: (info: tf.TensorInfo) => void = () => {},
  weights: readonly Weights[] = ALL,
): void {
  it.each(weights)('is what weights %s take', async (_, dtype, options) => {
    const before = counted();
    const expected = weightMemory(CONFIG, () => dtype, options);
    const model = await LlamaForCausalLM.fromWeights(CONFIG, sourceIn(dtype), options);
    for (const info of tensorsOf(model)) settle(info);
    expect(counted() - before).toBe(expected.bytes);
    expect(expected.forms).toEqual(new Set(options.basePrecision ? [options.basePrecision] : []));

    // A checkpoint that has them in 4 bits keeps them so, with scales in float32 for all that is known.
    if (options.basePrecision && !options.doubleQuantisation) {
      const types = new Map([...model.tensors].map(([name, tensor]) => [name, packedKind(tensor)?.type.toUpperCase()]));
      expect(weightMemory(CONFIG, (name) => types.get(name) ?? dtype).bytes).toBe(expected.bytes);
      const plain = weightMemory(CONFIG, (name) => types.get(name) ?? 'F32', { dequantise: true });
      expect(plain).toEqual(weightMemory(CONFIG, () => 'F32'));
    }
    model.dispose();
    expect(counted()).toBe(before);
  });
}
