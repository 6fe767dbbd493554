/** @file A tiny random Llama, batches, an adapter and an estimator for the tests of this package. */
import type { AttentionSelection, SparsityEstimator, SparsityPlan } from '@spft/estimator';
import type { FrozenLinear, LinearAdapter } from '@spft/peft';
import { type ChannelSelection, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { LlamaForCausalLM } from '../src/llama.js';
import { type LlamaConfig, llamaTensors } from '../src/llama-config.js';
import { IGNORE_INDEX, type PackedBatch, type WeightSource } from '../src/types.js';

/** Numbers in [−1, 1) that depend on the seed alone. */
export function pseudoRandom(count: number, seed: number): Float32Array {
  let state = (seed * 2654435761 + 12345) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

export const TINY: LlamaConfig = {
  vocabSize: 40,
  hiddenSize: 16,
  intermediateSize: 24,
  numHiddenLayers: 3,
  numAttentionHeads: 4,
  numKeyValueHeads: 2,
  headDim: 4,
  rmsNormEps: 1e-5,
  ropeTheta: 10_000,
  ropeScaling: null,
  maxPositionEmbeddings: 64,
  tieWordEmbeddings: false,
  attentionBias: false,
  mlpBias: false,
  initializerRange: 0.02,
  bosTokenId: 1,
  eosTokenIds: [2],
  padTokenId: 0,
};

/** Weights of a config by name, as a checkpoint would hold them. */
export function tinyWeights(config: LlamaConfig): Map<string, { shape: number[]; data: Float32Array }> {
  let seed = 0;
  return new Map(
    [...llamaTensors(config)].map(([name, shape]) => {
      const [offset, scale] = name.includes('norm')
        ? [1, 0.2]
        : name.endsWith('bias')
          ? [0, 0.3]
          : [0, 1.5 / Math.sqrt(shape[1]!)];
      const count = shape.reduce((a, b) => a * b);
      return [name, { shape: [...shape], data: pseudoRandom(count, ++seed).map((x) => offset + scale * x) }];
    }),
  );
}

export function sourceOf(weights: ReadonlyMap<string, { shape: number[]; data: Float32Array }>): WeightSource {
  return {
    names: [...weights.keys()],
    entry: (name) => ({ dtype: 'F32', shape: weights.get(name)!.shape }),
    float32: async (name) => weights.get(name)!.data,
  };
}

export function tinyModel(overrides: Partial<LlamaConfig> = {}): Promise<LlamaForCausalLM> {
  const config = { ...TINY, ...overrides };
  return LlamaForCausalLM.fromWeights(config, sourceOf(tinyWeights(config)));
}

/** Sequences of `[prompt, answer]` tokens: the answer has labels. `split`: the answer is dense, else everything is sparse. */
export function tinyBatch(parts: readonly (readonly [number, number])[], split = true, seed = 5): PackedBatch {
  const lengths = parts.map(([prompt, answer]) => prompt + answer);
  const total = lengths.reduce((a, b) => a + b);
  const inputIds = Int32Array.from(pseudoRandom(total, seed), (x) => Math.floor((x + 1) * 0.5 * 37) + 3);
  const labels = new Int32Array(total).fill(IGNORE_INDEX);
  let start = 0;
  for (const [prompt, answer] of parts) {
    for (let t = start + prompt; t < start + prompt + answer; t++) labels[t] = inputIds[t]!;
    start += prompt + answer;
  }
  return { inputIds, labels, layout: packTokens({ lengths, dense: (t) => split && labels[t] !== IGNORE_INDEX }) };
}

export const BATCH: readonly (readonly [number, number])[] = [
  [6, 3],
  [4, 4],
  [7, 1],
];

/** x·Aᵀ·Bᵀ in plain tfjs, so that this package's tests stand on no other's adapters. */
export function tinyAdapter(linear: FrozenLinear, seed: number, dropout = 0): LinearAdapter {
  const { inFeatures, outFeatures, name } = linear;
  const matrix = (rows: number, columns: number, salt: number) =>
    tf.tidy(() =>
      tf.variable(
        tf.tensor2d(
          pseudoRandom(rows * columns, seed + salt).map((x) => 0.4 * x),
          [rows, columns],
        ),
      ),
    );
  const [a, b] = [matrix(2, inFeatures, 1000), matrix(outFeatures, 2, 2000)];
  return {
    linear,
    variables: new Map([
      ['lora_A.weight', a],
      ['lora_B.weight', b],
    ]),
    forward(x, base, call) {
      const kept =
        dropout > 0 && call.training
          ? tf.mul(
              x,
              tf.tensor2d(
                pseudoRandom(x.size, call.seed % 1e6).map((u) => (u < 1 - 2 * dropout ? 1 : 0)),
                x.shape,
              ),
            )
          : x;
      return tf.add(base, tf.matMul(tf.matMul(kept, a, false, true), b, false, true));
    },
    mergedWeight: () => tf.tidy(() => tf.add(linear.weight, tf.matMul(b, a))),
    dispose() {
      if (!name) throw new Error('internal: adapter without a layer');
      tf.dispose([a, b]);
    },
  };
}

/** Puts adapters on every projection whose name ends in one of `targets`. */
export function attachAdapters(model: LlamaForCausalLM, targets: readonly string[], dropout = 0): void {
  let seed = 1;
  for (const [name, linear] of model.linears) {
    if (targets.some((target) => name.endsWith(target))) model.setAdapter(name, tinyAdapter(linear, seed++, dropout));
  }
}

export const ALL_PROJECTIONS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

export function select(indices: readonly number[], total: number): ChannelSelection {
  return { indices: tf.tensor1d([...indices], 'int32'), kept: indices.length, total };
}

/** The first ⌊total · (1 − sparsity)⌋ of the odd, then of the even channels: no ties, no contiguous runs. */
function someChannels(total: number, sparsity: number): number[] {
  const order = [...Array(total).keys()].sort((a, b) => (b % 2) - (a % 2) || a - b);
  return order.slice(0, Math.floor(total * (1 - sparsity))).sort((a, b) => a - b);
}

/** Always chooses the same channels; kv channel (h, i) takes query channels ((h·G + g)·d + i) along. */
export function fixedEstimator(
  applies: 'gather' | 'mask',
  needs: 'input' | 'activations' = 'input',
): SparsityEstimator {
  return {
    mode: 'fixed',
    needs,
    applies,
    selectMlp: ({ channels, sparsity, activations }) => {
      if ((activations !== undefined) !== (needs === 'activations')) throw new Error('internal: wrong context');
      return select(someChannels(channels, sparsity), channels);
    },
    selectAttention: ({ heads: { heads, kvHeads, headDim }, sparsity, q }): AttentionSelection => {
      if ((q !== undefined) !== (needs === 'activations')) throw new Error('internal: wrong context');
      const kv = someChannels(kvHeads * headDim, sparsity);
      const G = heads / kvHeads;
      const queries = kv
        .flatMap((c) =>
          Array.from({ length: G }, (_, g) => (Math.floor(c / headDim) * G + g) * headDim + (c % headDim)),
        )
        .sort((a, b) => a - b);
      const [N, K] = [heads * headDim, kvHeads * headDim];
      return { q: select(queries, N), k: select(kv, K), v: select(kv, K), o: select(queries, N) };
    },
    dispose: () => {},
  };
}

export function plan(
  estimator: SparsityEstimator,
  compat: SparsityPlan['compat'] = 'corrected',
  layers: SparsityPlan['layers'] = new Map([
    [1, { mlp: 0.5, selfAttn: 0.5 }],
    [2, { mlp: 0.75, selfAttn: 0 }],
  ]),
): SparsityPlan {
  return { estimator, layers, compat, enabled: true, listener: null };
}

/** The loss and the gradient of every variable, on the host. */
export function lossAndGradients(
  model: LlamaForCausalLM,
  batch: PackedBatch,
  options: { seed?: number; training?: boolean; gradientCheckpointing?: boolean; normalizer?: number } = {},
): { loss: Float32Array; gradients: Map<string, Float32Array> } {
  const { seed = 3, training = true, gradientCheckpointing = false, normalizer = 8 } = options;
  const variables = [...model.variables];
  const { value, grads } = tf.variableGrads(
    () => model.loss(batch, { training, seed, gradientCheckpointing, normalizer }),
    variables.map(([, variable]) => variable),
  );
  const gradients = new Map(variables.map(([name, v]) => [name, grads[v.name]!.dataSync() as Float32Array]));
  const loss = value.dataSync() as Float32Array;
  tf.dispose([value, grads]);
  return { loss, gradients };
}
