/**
 * @file Builds the layers of a Llama from named weights, under the names of Hugging Face checkpoints. Every weight that the config calls for
 * must be there in its shape, and none may be left over: a leftover means that the file holds another architecture than its config says.
 */
import { storedTensor, takesStored } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { AttentionBlock } from './attention-block.js';
import { DecoderLayer } from './decoder-layer.js';
import { ModelError } from './errors.js';
import { LinearLayer } from './linear-layer.js';
import { type LlamaConfig, llamaTensors } from './llama-config.js';
import { MlpBlock } from './mlp-block.js';
import type { WeightSource } from './types.js';

/** Everything of a model that is frozen. */
export interface LlamaParts {
  /** [V, H]. */
  readonly embedTokens: tf.Tensor2D;
  readonly layers: readonly DecoderLayer[];
  /** [H]. */
  readonly norm: tf.Tensor1D;
  /** [V, H]; the same tensor as `embedTokens` where they are tied. */
  readonly lmHead: tf.Tensor2D;
}

export interface LoadOptions {
  /** Told after each tensor. */
  readonly onProgress?: (loaded: number, total: number) => void;
}

/** Written by old versions of transformers; computed from the config instead. */
const COMPUTED = /\.rotary_emb\.inv_freq$/;

function check(config: LlamaConfig, source: WeightSource): void {
  const wanted = llamaTensors(config);
  const found = new Set(source.names);
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

/** Reads tensors in the shapes that the config gives them. */
class Reader {
  readonly tensors: tf.Tensor[] = [];
  readonly #shapes: ReadonlyMap<string, readonly number[]>;

  constructor(
    config: LlamaConfig,
    private readonly source: WeightSource,
    private readonly options: LoadOptions,
  ) {
    this.#shapes = llamaTensors(config);
  }

  async read<T extends tf.Tensor>(name: string): Promise<T> {
    const tensor = await this.#tensor(name, [...this.#shapes.get(name)!]);
    this.tensors.push(tensor);
    this.options.onProgress?.(this.tensors.length, this.#shapes.size);
    return tensor as T;
  }

  async #tensor(name: string, shape: number[]): Promise<tf.Tensor> {
    const { source } = this;
    if (source.tensor) return source.tensor(name);
    const { dtype } = source.entry(name);
    if (source.bytes && takesStored(dtype)) return storedTensor(await source.bytes(name), dtype, shape);
    return tf.tensor(await source.float32(name), shape, 'float32');
  }

  /** The layer's bias is read where the config has one. */
  async linear(name: string): Promise<LinearLayer> {
    const weight = await this.read<tf.Tensor2D>(`${name}.weight`);
    const bias = this.#shapes.has(`${name}.bias`) ? await this.read<tf.Tensor1D>(`${name}.bias`) : null;
    return new LinearLayer(name, weight, bias);
  }
}

async function readLayer(reader: Reader, config: LlamaConfig, index: number): Promise<DecoderLayer> {
  const prefix = `model.layers.${index}`;
  const norm = (name: string) => reader.read<tf.Tensor1D>(`${prefix}.${name}.weight`);
  const linear = (name: string) => reader.linear(`${prefix}.${name}`);
  const attention = new AttentionBlock(
    index,
    await linear('self_attn.q_proj'),
    await linear('self_attn.k_proj'),
    await linear('self_attn.v_proj'),
    await linear('self_attn.o_proj'),
    { heads: config.numAttentionHeads, kvHeads: config.numKeyValueHeads, headDim: config.headDim },
  );
  const mlp = new MlpBlock(
    index,
    await linear('mlp.gate_proj'),
    await linear('mlp.up_proj'),
    await linear('mlp.down_proj'),
  );
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
 */
export async function readLlama(
  config: LlamaConfig,
  source: WeightSource,
  options: LoadOptions = {},
): Promise<LlamaParts> {
  check(config, source);
  const reader = new Reader(config, source, options);
  try {
    const embedTokens = await reader.read<tf.Tensor2D>('model.embed_tokens.weight');
    const layers: DecoderLayer[] = [];
    for (let n = 0; n < config.numHiddenLayers; n++) layers.push(await readLayer(reader, config, n));
    const norm = await reader.read<tf.Tensor1D>('model.norm.weight');
    const lmHead = config.tieWordEmbeddings ? embedTokens : await reader.read<tf.Tensor2D>('lm_head.weight');
    return { embedTokens, layers, norm, lmHead };
  } catch (error) {
    tf.dispose(reader.tensors);
    throw error;
  }
}
