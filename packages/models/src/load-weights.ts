/**
 * @file Builds the layers of a Llama from named weights, under the names of Hugging Face checkpoints. Every weight that the config calls for
 * must be there in its shape, and none may be left over: a leftover means that the file holds another architecture than its config says.
 */
import {
  holdShards,
  StoredFormError,
  type StoredFormName,
  type StoredType,
  storeAs,
  storedTensor,
  takesStored,
  type WeightShards,
} from '@spft/sparse-ops';
import { formOf, type PackedArraysOf, requireForm, storePacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { AttentionBlock } from './attention-block.js';
import { DecoderLayer } from './decoder-layer.js';
import { ModelError } from './errors.js';
import { requireFinite, requireFiniteStored } from './finite.js';
import { LinearLayer } from './linear-layer.js';
import { type LlamaConfig, llamaTensors } from './llama-config.js';
import { MlpBlock } from './mlp-block.js';
import type { WeightSource } from './types.js';

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

/** How the frozen matrices of linear layers are stored: `bf16` as the backend has weights by itself (float32 on backends without bf16). */
export const BASE_PRECISIONS = ['bf16', 'fp8', 'nf4', 'fp4'] as const;
export type BasePrecision = (typeof BASE_PRECISIONS)[number];

export interface LoadOptions {
  /**
   * `fp8`: q, k, v, o, gate, up and down in E4M3, whose products are about twice as fast and whose memory is half, on GPUs that have them. Embedding, head,
   * norms and adapters stay as they are. `nf4`, `fp4`: those matrices in 4 bits, as bitsandbytes has them (QLoRA), on every backend. Default `bf16`; a
   * checkpoint that has matrices in 4 bits keeps them so.
   */
  readonly basePrecision?: BasePrecision;
  /** With `nf4` and `fp4`: scales in 8 bits too (`bnb_4bit_use_double_quant`), for 0.37 bits a number less. Default false. */
  readonly doubleQuantisation?: boolean;
  /** With `nf4` and `fp4`: embedding and head in 4 bits too. Default false. */
  readonly quantiseEmbeddings?: boolean;
  /** Matrices that the checkpoint has in 4 bits become plain numbers: what a merged model is made from. Default false. */
  readonly dequantise?: boolean;
  /** With `fp8`: keeps the transposed matrices that gradients need, rather than making them in every step. Faster, for as much memory again. */
  readonly keepTransposed?: boolean;
  /**
   * Each of several processes holds a part of the frozen matrices of linear layers, and reads that part alone of a file; the others' come from them when
   * a layer is used. Embedding, head, norms, biases and adapters are whole everywhere. All processes load together, and use the model together.
   */
  readonly shards?: WeightShards | null;
  /** Told after each tensor. */
  readonly onProgress?: (loaded: number, total: number) => void;
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

/** Matrices of linear layers by name: what may be held in parts. */
const OF_LINEAR_LAYER = /^model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj\.weight$/;

/** Bytes that are read ahead of the tensor that is wanted, where there is one so large. */
const AHEAD_BYTES = 2 ** 28;
const BYTES: Readonly<Record<StoredType, number>> = { BF16: 2, F16: 2, F32: 4 };

/**
 * Reads tensors in the shapes that the config gives them. What a backend takes as it is stored is read ahead, several tensors at a time, while
 * those before are on their way to it.
 */
class Reader {
  readonly tensors: tf.Tensor[] = [];
  readonly #shapes: ReadonlyMap<string, readonly number[]>;
  /** Names that nothing was read of yet, in about the order in which they will be asked for. */
  readonly #unread: Set<string>;
  readonly #ahead = new Map<string, Promise<Uint8Array>>();
  #aheadBytes = 0;

  constructor(
    config: LlamaConfig,
    private readonly source: WeightSource,
    private readonly options: LoadOptions,
  ) {
    this.#shapes = llamaTensors(config);
    this.#unread = new Set(this.#shapes.keys());
  }

  async read<T extends tf.Tensor>(name: string): Promise<T> {
    const tensor = await this.#tensor(name, [...this.#shapes.get(name)!]);
    this.tensors.push(tensor);
    this.options.onProgress?.(this.tensors.length, this.#shapes.size);
    return tensor as T;
  }

  async #tensor(name: string, shape: number[]): Promise<tf.Tensor> {
    const { source } = this;
    const packed = this.options.dequantise ? null : source.packed?.(name);
    if (packed) return this.#packed(name, await packed);
    if (source.tensor) return source.tensor(name);
    const stored = this.#storedType(name);
    if (stored === null) {
      const values = await source.float32(name);
      requireFinite(name, values);
      return tf.tensor(values, shape, 'float32');
    }
    this.#begin(name);
    this.#readAhead();
    const bytes = await this.#ahead.get(name)!;
    this.#ahead.delete(name);
    this.#aheadBytes -= this.#bytesOf(name);
    const part = this.#partOf(name);
    requireFiniteStored(part ? `${name} from byte ${part[0]} on` : name, bytes, stored);
    return part ? this.options.shards!.gather(bytes, stored, shape) : storedTensor(bytes, stored, shape);
  }

  /** The bytes that this process reads; null for all. */
  #partOf(name: string): readonly [number, number] | null {
    const { shards } = this.options;
    return shards && OF_LINEAR_LAYER.test(name) ? shards.range(this.#sizeOf(name)) : null;
  }

  #packed(name: string, arrays: PackedArraysOf): tf.Tensor {
    const form = formOfPrecision(this.options);
    if (form !== null && form !== arrays.type) {
      throw new ModelError(
        `'${name}' is in ${arrays.type} in the checkpoint, and ${form} was asked for: it would be rounded twice; leave base_precision and bnb_4bit_quant_type out, ` +
          'or use the original model',
      );
    }
    return storePacked(arrays);
  }

  #readAhead(): void {
    for (const name of this.#unread) {
      if (this.#aheadBytes >= AHEAD_BYTES || this.#storedType(name) === null) return;
      this.#begin(name);
    }
  }

  #begin(name: string): void {
    if (!this.#unread.delete(name)) return;
    const part = this.#partOf(name);
    const bytes = part ? this.source.bytes!(name, ...part) : this.source.bytes!(name);
    // Whoever asks for the tensor gets the error; until then it is nobody's.
    bytes.catch(() => {});
    this.#ahead.set(name, bytes);
    this.#aheadBytes += this.#bytesOf(name);
  }

  #bytesOf(name: string): number {
    const part = this.#partOf(name);
    return part ? part[1] - part[0] : this.#sizeOf(name);
  }

  #sizeOf(name: string): number {
    return this.#shapes.get(name)!.reduce((size, n) => size * n, BYTES[this.#storedType(name)!]);
  }

  /** How it is stored, where the backend takes it so. */
  #storedType(name: string): StoredType | null {
    const { dtype } = this.source.entry(name);
    if (!this.source.bytes) return null;
    // Who holds parts takes them as they are stored, whether the backend does or not; other types, and codes, are read whole and divided then.
    if (this.options.shards && OF_LINEAR_LAYER.test(name)) return isStoredType(dtype) ? dtype : null;
    return takesStored(dtype) ? dtype : null;
  }

  /** A linear layer's matrix in the form that is wanted. */
  async frozen(name: string): Promise<tf.Tensor2D> {
    const weight = await this.read<tf.Tensor2D>(name);
    const form = formOfPrecision(this.options);
    if (form === null || formOf(weight) !== null) return weight;
    const { keepTransposed = false, doubleQuantisation = false } = this.options;
    const { dtype } = this.source.entry(name);
    try {
      const stored = storeAs(weight, form, {
        keepTransposed,
        doubleQuantisation,
        dtype: isStoredType(dtype) ? dtype : 'F32',
      });
      this.tensors[this.tensors.indexOf(weight)] = stored;
      weight.dispose();
      return stored;
    } catch (error) {
      if (error instanceof StoredFormError) throw new StoredFormError(`'${name}': ${error.message}`, { cause: error });
      throw error;
    }
  }

  /** Embedding or head: plain, unless they are asked for in 4 bits too. */
  table(name: string): Promise<tf.Tensor2D> {
    const form = formOfPrecision(this.options);
    const isWanted = this.options.quantiseEmbeddings && (form === 'nf4' || form === 'fp4');
    return isWanted ? this.frozen(name) : this.read<tf.Tensor2D>(name);
  }

  /** Linear layers of one decoder layer. A bias is read where the config has one. */
  async linears(names: readonly string[]): Promise<LinearLayer[]> {
    const weights: tf.Tensor2D[] = [];
    const biases: (tf.Tensor1D | null)[] = [];
    for (const name of names) {
      weights.push(await this.frozen(`${name}.weight`));
      biases.push(this.#shapes.has(`${name}.bias`) ? await this.read<tf.Tensor1D>(`${name}.bias`) : null);
    }
    const held = this.#inShards(weights);
    return names.map((name, n) => new LinearLayer(name, held[n]!, biases[n]!));
  }

  #inShards(weights: readonly tf.Tensor2D[]): readonly tf.Tensor2D[] {
    const { shards } = this.options;
    if (!shards) return weights;
    const held = holdShards(shards, weights);
    weights.forEach((weight, n) => {
      this.tensors[this.tensors.indexOf(weight)] = held[n]!;
    });
    return held;
  }
}

const LINEARS = [
  ...['self_attn.q_proj', 'self_attn.k_proj', 'self_attn.v_proj', 'self_attn.o_proj'],
  ...['mlp.gate_proj', 'mlp.up_proj', 'mlp.down_proj'],
];
type LinearsOfLayer = [
  ...[q: LinearLayer, k: LinearLayer, v: LinearLayer, o: LinearLayer],
  ...[gate: LinearLayer, up: LinearLayer, down: LinearLayer],
];

async function readLayer(reader: Reader, config: LlamaConfig, index: number): Promise<DecoderLayer> {
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

const isStoredType = (dtype: string | undefined): dtype is StoredType =>
  dtype === 'BF16' || dtype === 'F16' || dtype === 'F32';

/** The form of sparse-ops for a precision, null for what backends have by themselves. @throws ModelError for one that is none. */
function formOfPrecision({ basePrecision = 'bf16' }: LoadOptions): StoredFormName | null {
  if (basePrecision === 'bf16') return null;
  if (BASE_PRECISIONS.includes(basePrecision)) return basePrecision;
  throw new ModelError(`basePrecision is '${basePrecision}', must be one of ${BASE_PRECISIONS.join(', ')}`);
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
  check(config, source);
  const reader = new Reader(config, source, options);
  try {
    const embedTokens = await reader.table('model.embed_tokens.weight');
    const layers: DecoderLayer[] = [];
    for (let n = 0; n < config.numHiddenLayers; n++) layers.push(await readLayer(reader, config, n));
    const norm = await reader.read<tf.Tensor1D>('model.norm.weight');
    const lmHead = config.tieWordEmbeddings ? embedTokens : await reader.table('lm_head.weight');
    return { embedTokens, layers, norm, lmHead };
  } catch (error) {
    tf.dispose(reader.tensors);
    throw error;
  }
}
