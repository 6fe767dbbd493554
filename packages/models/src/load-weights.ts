/**
 * @file Builds the layers of a Llama from named weights, under the names of Hugging Face checkpoints. Every weight that the config calls for
 * must be there in its shape, and none may be left over: a leftover means that the file holds another architecture than its config says.
 */
import { requireForm } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { AttentionBlock } from './attention-block.js';
import { DecoderLayer } from './decoder-layer.js';
import { ModelError } from './errors.js';
import type { LinearLayer } from './linear-layer.js';
import { type LlamaConfig, llamaTensors } from './llama-config.js';
import { formOfPrecision, type LoadOptions } from './load-options.js';
import { MlpBlock } from './mlp-block.js';
import type { WeightSource } from './types.js';
import { WeightReader } from './weight-reader.js';

/** What lies between embedding and head. */
export interface LlamaBody {
  readonly layers: readonly DecoderLayer[];
  /** [H]. */
  readonly norm: tf.Tensor1D;
}

/** Everything of a model that is frozen. */
export interface LlamaParts extends LlamaBody {
  /** [V, H]. */
  readonly embedTokens: tf.Tensor2D;
  /** [V, H]; the same tensor as `embedTokens` where they are tied. */
  readonly lmHead: tf.Tensor2D;
}

/** Written by old versions of transformers; computed from the config instead. */
const COMPUTED = /\.rotary_emb\.inv_freq$/;

function check(config: LlamaConfig, source: WeightSource): void {
  const found = new Set(source.names);
  requireLayers(config, found.size);
  const wanted = llamaTensors(config);
  const problems: string[] = [];
  for (const [name, shape] of wanted) {
    if (!found.has(name)) {
      problems.push(`'${name}' [${shape}] is missing; is the checkpoint complete?`);
      continue;
    }
    const has = source.entry(name).shape;
    if (has.length !== shape.length || has.some((n, axis) => n !== shape[axis])) {
      problems.push(`'${name}' is [${has}], wanted [${shape}]`);
    }
  }
  for (const name of found) {
    const tied = config.tieWordEmbeddings && name === 'lm_head.weight';
    if (!wanted.has(name) && !tied && !COMPUTED.test(name)) {
      problems.push(`'${name}' has no place in this architecture; is it another model's config.json?`);
    }
  }
  if (problems.length === 0) return;
  const shown = problems.slice(0, 5);
  const rest = problems.length > shown.length ? [`and ${problems.length - shown.length} more`] : [];
  throw new ModelError(`weights do not fit config.json:\n  ${[...shown, ...rest].join('\n  ')}`);
}

/** @throws ModelError when the config has more layers than the file has tensors: before their names are listed. */
export function requireLayers({ numHiddenLayers }: LlamaConfig, tensors: number): void {
  if (numHiddenLayers <= tensors + 100) return;
  throw new ModelError(
    `config.json has num_hidden_layers ${numHiddenLayers}, but the weights are ${tensors} tensors; is it another model's config.json?`,
  );
}

const LINEARS = [
  ...['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj'],
  ...['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'],
];
type LinearsOfLayer = [
  ...[q: LinearLayer, k: LinearLayer, v: LinearLayer, o: LinearLayer],
  ...[gate: LinearLayer, up: LinearLayer, down: LinearLayer],
];

async function readLayer(reader: WeightReader, config: LlamaConfig, index: number): Promise<DecoderLayer> {
  const prefix = `model.layers.${index}`;
  const norm = (name: string) => reader.read<tf.Tensor1D>(`${prefix}.${name}.weight`);
  const [q, k, v, o, gate, up, down] = (await reader.linears(
    LINEARS.map((name) => `${prefix}.${name}`),
  )) as LinearsOfLayer;
  const attention = new AttentionBlock(index, ...([q, k, v, o] as const), {
    heads: config.numAttentionHeads,
    kvHeads: config.numKeyValueHeads,
    headDim: config.headDim,
  });
  const mlp = new MlpBlock(index, gate, up, down);
  return new DecoderLayer(
    await norm('input_layernorm'),
    attention,
    await norm('post_attention_layernorm'),
    mlp,
    config.rmsNormEps,
  );
}

/**
 * Reads every weight to the active backend.
 * @throws ModelError when one is missing, has another shape than the config says, or is left over: before anything is read.
 * @throws StoredFormError where the active backend has no such form of weights: likewise.
 */
export async function readLlama(
  config: LlamaConfig,
  source: WeightSource,
  options: LoadOptions = {},
): Promise<LlamaParts> {
  const form = formOfPrecision(options);
  if (form !== null) requireForm(form);
  if (options.shards && options.keepTransposed) {
    throw new ModelError(
      'keepTransposed keeps whole matrices, of which shards are there to hold a part: leave one of the two out',
    );
  }
  if (options.shards && options.outlierChannels) {
    throw new ModelError(
      'outlierChannels are columns more in matrices of which shards are there to hold a part: leave one of the two out',
    );
  }
  check(config, source);
  const reader = new WeightReader(config, source, options);
  try {
    const embedTokens = await reader.matrix('model.embed_tokens.weight');
    const layers: DecoderLayer[] = [];
    for (let n = 0; n < config.numHiddenLayers; n++) layers.push(await readLayer(reader, config, n));
    const norm = await reader.read<tf.Tensor1D>('model.norm.weight');
    const lmHead = config.tieWordEmbeddings ? embedTokens : await reader.matrix('lm_head.weight');
    return { embedTokens, layers, norm, lmHead };
  } catch (error) {
    tf.dispose(reader.tensors);
    throw error;
  }
}
