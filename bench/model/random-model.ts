/** @file A Llama with random weights of unit gain, and batches of random tokens. */
import { countLabelledTokens, IGNORE_INDEX, LlamaForCausalLM, llamaTensors, type PackedBatch } from '@spft/models';
import { packTokens } from '@spft/sparse-ops';
import { integers, uniform } from '../support/random.js';
import type { BenchShape } from './shapes.js';

export function randomModel({ config }: BenchShape): Promise<LlamaForCausalLM> {
  const shapes = llamaTensors(config);
  const seeds = new Map([...shapes.keys()].map((name, n) => [name, n]));
  return LlamaForCausalLM.fromWeights(config, {
    names: shapes.keys(),
    entry: (name) => ({ shape: shapes.get(name)! }),
    async float32(name) {
      const shape = shapes.get(name)!;
      const count = shape.reduce((a, b) => a * b);
      // Norms around 1; a matrix keeps the variance of what it multiplies.
      if (shape.length === 1) return uniform(count, seeds.get(name)!, 0.1).map((x) => 1 + x);
      return uniform(count, seeds.get(name)!, 1 / Math.sqrt(shape[1]!));
    },
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
