/**
 * @file Models of real shapes with random weights, for measuring where there is no download: what a step costs depends on the shapes and on how many
 * channels are kept, hardly on the values.
 */
import { type LlamaConfig, LlamaForCausalLM, type LoadOptions, llamaTensors, type WeightSource } from '@spft/models';
import { nearestName } from '@spft/safetensors/internals';
import { CliError } from '../errors.js';
import type { Output } from '../terminal/output.js';
import { requireAddressable } from './open-model.js';

const COMMON = {
  ...{ rmsNormEps: 1e-5, ropeTheta: 10_000, ropeScaling: null, maxPositionEmbeddings: 8192 },
  ...{ tieWordEmbeddings: false, attentionBias: false, mlpBias: false, initializerRange: 0.02 },
  ...{ bosTokenId: null, eosTokenIds: [], padTokenId: null },
} as const;

const shape = (
  [vocabSize, hiddenSize, intermediateSize, numHiddenLayers]: readonly [number, number, number, number],
  [numAttentionHeads, numKeyValueHeads, headDim]: readonly [number, number, number],
  more: Partial<LlamaConfig> = {},
): LlamaConfig => ({
  ...COMMON,
  ...{ vocabSize, hiddenSize, intermediateSize, numHiddenLayers, numAttentionHeads, numKeyValueHeads, headDim },
  ...more,
});

/** V, H, I, layers; N, K, d. */
export const SHAPES: Readonly<Record<string, LlamaConfig>> = {
  'llama3-8b': shape([128256, 4096, 14336, 32], [32, 8, 128], { ropeTheta: 500_000 }),
  'llama3.2-1b': shape([128256, 2048, 8192, 16], [32, 8, 64], { ropeTheta: 500_000, tieWordEmbeddings: true }),
  'llama2-7b': shape([32000, 4096, 11008, 32], [32, 32, 128]),
  'llama2-13b': shape([32000, 5120, 13824, 40], [40, 40, 128]),
  'tinyllama-1.1b': shape([32000, 2048, 5632, 22], [32, 4, 64]),
  'smollm2-135m': shape([49152, 576, 1536, 30], [9, 3, 64], { ropeTheta: 100_000, tieWordEmbeddings: true }),
  // examples/quickstart/base: measured in seconds on any machine.
  quickstart: shape([1024, 192, 1024, 4], [6, 2, 32], { tieWordEmbeddings: true }),
};

/** @throws CliError when there is no such shape. */
export function shapeNamed(name: string): LlamaConfig {
  const found = Object.hasOwn(SHAPES, name) ? SHAPES[name] : undefined;
  if (found) return found;
  const near = nearestName(name, Object.keys(SHAPES));
  throw new CliError(
    `there is no shape '${name}'${near === null ? '' : `; did you mean '${near}'?`} (there are ${Object.keys(SHAPES).join(', ')})`,
  );
}

/** A prime number of values, so that no two rows of a matrix are alike. */
const DISTINCT = 1_048_573;

/** Weights between ±√3 · initializer_range, evenly spread, in bf16; each tensor begins at a place of its own in one list of values. Norms are 1. */
function randomWeights(config: LlamaConfig): WeightSource {
  const shapes = llamaTensors(config);
  const names = [...shapes.keys()];
  const values = new Uint16Array(DISTINCT);
  const single = new Float32Array(1);
  const bits = new Uint32Array(single.buffer);
  const scale = config.initializerRange * Math.sqrt(3);
  let state = 12345;
  for (let i = 0; i < DISTINCT; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    single[0] = (state / 2 ** 31 - 1) * scale;
    values[i] = bits[0]! >>> 16;
  }
  const words = (name: string): Uint16Array => {
    const size = shapes.get(name)!.reduce((a, b) => a * b);
    if (shapes.get(name)!.length === 1) return new Uint16Array(size).fill(0x3f80);
    const made = new Uint16Array(size);
    for (let at = 0, from = (names.indexOf(name) * 7919) % DISTINCT; at < size; from = 0) {
      const part = values.subarray(from, Math.min(DISTINCT, from + size - at));
      made.set(part, at);
      at += part.length;
    }
    return made;
  };
  return {
    names,
    entry: (name) => ({ shape: shapes.get(name)!, dtype: 'BF16' }),
    bytes: async (name) => new Uint8Array(words(name).buffer),
    float32: async (name) => new Float32Array(Uint32Array.from(words(name), (word) => word << 16).buffer),
  };
}

/** The model of a shape on the active backend; the caller disposes it. */
export async function openRandomModel(
  name: string,
  output: Output,
  options: LoadOptions = {},
): Promise<LlamaForCausalLM> {
  const config = shapeNamed(name);
  requireAddressable(name, config, options);
  const status = output.task(`random weights of the shape ${name}`);
  try {
    const model = await LlamaForCausalLM.fromWeights(config, randomWeights(config), {
      ...options,
      onProgress: (loaded, total) => status.update(loaded / total),
    });
    status.done(`${(model.parameterCount / 1e6).toFixed(1)} M parameters, ${model.layerCount} layers`);
    return model;
  } catch (error) {
    status.fail();
    throw error;
  }
}
