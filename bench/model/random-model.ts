/** @file A Llama with random weights of unit gain, and batches of random tokens. */
import { countLabelledTokens, IGNORE_INDEX, LlamaForCausalLM, llamaTensors, type PackedBatch } from '@spft/models';
import { bfloat16ToFloat32, float32ToBfloat16 } from '@spft/safetensors';
import { packTokens } from '@spft/sparse-ops';
import { integers, uniform } from '../support/random.js';
import type { BenchShape } from './shapes.js';

/** @param weights `bf16`: rounded, and given as a file in bf16 has them, for backends that keep them so; `bf16 as float32`: the same numbers. */
export function randomModel(
  { config }: BenchShape,
  weights: 'float32' | 'bf16' | 'bf16 as float32' = 'float32',
): Promise<LlamaForCausalLM> {
  const shapes = llamaTensors(config);
  const seeds = new Map([...shapes.keys()].map((name, n) => [name, n]));
  const valuesOf = (name: string): Float32Array => {
    const shape = shapes.get(name)!;
    const count = shape.reduce((a, b) => a * b);
    // Norms around 1; a matrix keeps the variance of what it multiplies.
    if (shape.length === 1) return uniform(count, seeds.get(name)!, 0.1).map((x) => 1 + x);
    return uniform(count, seeds.get(name)!, 1 / Math.sqrt(shape[1]!));
  };
  return LlamaForCausalLM.fromWeights(config, {
    names: shapes.keys(),
    entry: (name) => ({ shape: shapes.get(name)!, ...(weights === 'bf16' && { dtype: 'BF16' }) }),
    async float32(name) {
      const values = valuesOf(name);
      if (weights !== 'float32') bfloat16ToFloat32(float32ToBfloat16(values), values);
      return values;
    },
    ...(weights === 'bf16' && {
      bytes: async (name: string, begin = 0, end?: number) =>
        new Uint8Array(float32ToBfloat16(valuesOf(name)).buffer).subarray(begin, end),
    }),
  });
}

export interface BatchOptions {
  readonly batch: number;
  readonly length: number;
  /** Share of the tokens that is context, at the beginning of each sequence: without labels, sparse in SparseLoRA. */
  readonly context: number;
}

export interface BenchBatch extends PackedBatch {
  /** What the loss is divided by. */
  readonly labelledTokens: number;
}

/** @param sparse lay context tokens out as sparse rows; all rows are dense otherwise. */
export function randomBatch(vocabulary: number, { batch, length, context }: BatchOptions, sparse: boolean): BenchBatch {
  const tokens = batch * length;
  const contextLength = Math.round(length * context);
  const inputIds = integers(tokens, vocabulary, 99);
  const labels = inputIds.map((id, t) => (t % length < contextLength ? IGNORE_INDEX : id));
  const layout = packTokens({
    lengths: Array.from({ length: batch }, () => length),
    dense: (token) => !sparse || labels[token] !== IGNORE_INDEX,
  });
  const packed = { inputIds, labels, layout };
  return { ...packed, labelledTokens: countLabelledTokens(packed) };
}
