/**
 * @file `config.json` of a Llama model: typed, checked, both dialects. transformers 5 writes `rope_parameters`, earlier versions
 * `rope_theta` and `rope_scaling`. Defaults are those of transformers' `LlamaConfig`.
 */
import type { Llama3RopeScaling } from '@spft/sparse-ops';
import { ModelError } from './errors.js';

/** The keys of config.json that say what is computed. */
export interface LlamaConfig {
  /** V. */
  readonly vocabSize: number;
  /** H. */
  readonly hiddenSize: number;
  /** I. */
  readonly intermediateSize: number;
  readonly numHiddenLayers: number;
  /** N. */
  readonly numAttentionHeads: number;
  /** K; N is a multiple of it. */
  readonly numKeyValueHeads: number;
  /** d, even. */
  readonly headDim: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  /** Llama 3.1's scaling, or null for none. */
  readonly ropeScaling: Llama3RopeScaling | null;
  readonly maxPositionEmbeddings: number;
  /** The embedding is the LM head too. */
  readonly tieWordEmbeddings: boolean;
  /** q, k, v and o have biases. */
  readonly attentionBias: boolean;
  /** gate, up and down have biases. */
  readonly mlpBias: boolean;
  /** Standard deviation of random weights. */
  readonly initializerRange: number;
  readonly bosTokenId: number | null;
  /** Any of them ends a text; Llama 3 instruct models have several. */
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
}

type Json = Readonly<Record<string, unknown>>;

const isJson = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Reads keys and collects what is wrong with them, so that all is said at once. */
class Reader {
  readonly problems: string[] = [];

  constructor(
    private readonly json: Json,
    private readonly path = '',
  ) {}

  value(key: string): unknown {
    return this.json[key];
  }

  number(key: string, fallback: number | undefined, wanted: string, holds: (n: number) => boolean): number {
    const value = this.json[key] ?? fallback;
    if (typeof value === 'number' && holds(value)) return value;
    this.problems.push(`${this.path}${key}: wanted ${wanted}, found ${JSON.stringify(value) ?? 'nothing'}`);
    return Number.NaN;
  }

  count(key: string, fallback?: number): number {
    return this.number(key, fallback, 'a whole number above 0', (n) => Number.isSafeInteger(n) && n > 0);
  }

  positive(key: string, fallback?: number): number {
    return this.number(key, fallback, 'a number above 0', (n) => Number.isFinite(n) && n > 0);
  }

  boolean(key: string, fallback: boolean): boolean {
    const value = this.json[key] ?? fallback;
    if (typeof value === 'boolean') return value;
    this.problems.push(`${this.path}${key}: wanted true or false, found ${JSON.stringify(value)}`);
    return fallback;
  }

  /** Ids of a key that may be null, one id or several. */
  tokenIds(key: string, fallback: readonly number[]): readonly number[] {
    const value = this.json[key];
    if (value === undefined) return fallback;
    if (value === null) return [];
    const ids: unknown[] = Array.isArray(value) ? value : [value];
    if (ids.every((id) => Number.isSafeInteger(id))) {
      // Some configs say -1 for "none".
      return (ids as number[]).filter((id) => id >= 0);
    }
    this.problems.push(`${this.path}${key}: wanted a token id, a list of them or null, found ${JSON.stringify(value)}`);
    return fallback;
  }
}

/**
 * @param json the parsed config.json.
 * @param file its name, for messages.
 * @throws ModelError when it is no Llama model that can be computed here, naming every key that stands against it.
 */
export function parseLlamaConfig(json: unknown, file = 'config.json'): LlamaConfig {
  if (!isJson(json)) {
    throw new ModelError(`${file}: wanted a JSON object, found ${JSON.stringify(json)?.slice(0, 80) ?? 'nothing'}`);
  }
  checkArchitecture(json, file);
  const reader = new Reader(json);
  const numAttentionHeads = reader.count('num_attention_heads');
  const hiddenSize = reader.count('hidden_size');
  const headDim = reader.number(
    'head_dim',
    hiddenSize / numAttentionHeads,
    'an even whole number (head_dim, or hidden_size / num_attention_heads where it is not given)',
    (n) => Number.isSafeInteger(n) && n > 0 && n % 2 === 0,
  );
  const numKeyValueHeads = reader.number(
    'num_key_value_heads',
    numAttentionHeads,
    `a divisor of num_attention_heads (${numAttentionHeads})`,
    (n) => Number.isSafeInteger(n) && n > 0 && numAttentionHeads % n === 0,
  );
  const rope = parseRope(json, reader);
  const config: LlamaConfig = {
    vocabSize: reader.count('vocab_size'),
    hiddenSize,
    intermediateSize: reader.count('intermediate_size'),
    numHiddenLayers: reader.count('num_hidden_layers'),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    rmsNormEps: reader.positive('rms_norm_eps', 1e-6),
    ...rope,
    maxPositionEmbeddings: reader.count('max_position_embeddings', 2048),
    tieWordEmbeddings: reader.boolean('tie_word_embeddings', false),
    attentionBias: reader.boolean('attention_bias', false),
    mlpBias: reader.boolean('mlp_bias', false),
    initializerRange: reader.positive('initializer_range', 0.02),
    bosTokenId: reader.tokenIds('bos_token_id', [1])[0] ?? null,
    eosTokenIds: reader.tokenIds('eos_token_id', [2]),
    padTokenId: reader.tokenIds('pad_token_id', [])[0] ?? null,
  };
  const act = json.hidden_act ?? 'silu';
  if (act !== 'silu' && act !== 'swish') {
    reader.problems.push(
      `hidden_act: wanted 'silu', found ${JSON.stringify(act)}; other activations are not computed here`,
    );
  }
  if ((json.attention_dropout ?? 0) !== 0) {
    reader.problems.push(
      `attention_dropout: wanted 0, found ${JSON.stringify(json.attention_dropout)}; dropout in attention is not computed here, set 0 to train without`,
    );
  }
  if (reader.problems.length > 0) throw new ModelError(`${file}: ${reader.problems.join('\n  ')}`);
  return config;
}

function checkArchitecture(json: Json, file: string): void {
  const architectures = Array.isArray(json.architectures) ? json.architectures : [];
  const found =
    architectures.length > 0 ? architectures.join(', ') : `model_type ${JSON.stringify(json.model_type) ?? 'nothing'}`;
  const isLlama =
    architectures.length > 0
      ? architectures.includes('LlamaForCausalLM') && (json.model_type ?? 'llama') === 'llama'
      : json.model_type === 'llama';
  if (!isLlama) {
    throw new ModelError(
      `${file}: unsupported architecture ${found}${architectures.length > 0 && json.model_type !== undefined ? ` (model_type ${JSON.stringify(json.model_type)})` : ''}; ` +
        'supported is LlamaForCausalLM with model_type "llama": Llama 2, 3, 3.1, 3.2, SmolLM2 and others of their architecture',
    );
  }
  if (json.quantization_config != null) {
    const method = isJson(json.quantization_config) ? json.quantization_config.quant_method : undefined;
    throw new ModelError(
      `${file}: the weights are quantized (quantization_config${method === undefined ? '' : `, ${JSON.stringify(method)}`}), which is not supported; ` +
        'use the original model in bf16, f16 or f32',
    );
  }
}

/** Frequencies' base and scaling from either dialect; `rope_parameters` counts where both are there, as in transformers. */
function parseRope(json: Json, top: Reader): Pick<LlamaConfig, 'ropeTheta' | 'ropeScaling'> {
  const key = json.rope_parameters != null ? 'rope_parameters' : 'rope_scaling';
  const rope = json[key] ?? {};
  if (!isJson(rope)) {
    top.problems.push(`${key}: wanted an object or null, found ${JSON.stringify(rope)}`);
    return { ropeTheta: Number.NaN, ropeScaling: null };
  }
  const reader = new Reader(rope, `${key}.`);
  const ropeTheta = rope.rope_theta === undefined ? top.positive('rope_theta', 10000) : reader.positive('rope_theta');
  const type = rope.rope_type ?? rope.type ?? 'default';
  let ropeScaling: Llama3RopeScaling | null = null;
  if (type === 'llama3') {
    ropeScaling = {
      ropeType: 'llama3',
      factor: reader.positive('factor'),
      lowFreqFactor: reader.positive('low_freq_factor'),
      highFreqFactor: reader.positive('high_freq_factor'),
      originalMaxPositionEmbeddings: reader.count('original_max_position_embeddings'),
    };
    if (ropeScaling.highFreqFactor <= ropeScaling.lowFreqFactor) {
      reader.problems.push(
        `${key}.high_freq_factor: wanted more than low_freq_factor (${ropeScaling.lowFreqFactor}), found ${ropeScaling.highFreqFactor}`,
      );
    }
  } else if (type !== 'default') {
    reader.problems.push(
      `${key}.rope_type: wanted 'default' or 'llama3', found ${JSON.stringify(type)}; other scalings are not computed here`,
    );
  }
  if ((rope.partial_rotary_factor ?? 1) !== 1) {
    reader.problems.push(`${key}.partial_rotary_factor: wanted 1, found ${JSON.stringify(rope.partial_rotary_factor)}`);
  }
  top.problems.push(...reader.problems);
  return { ropeTheta, ropeScaling };
}

/** Every tensor that a checkpoint of this config holds, with its shape, by Hugging Face name in model order. */
export function llamaTensors(config: LlamaConfig): ReadonlyMap<string, readonly number[]> {
  const { vocabSize: V, hiddenSize: H, intermediateSize: I, headDim: d } = config;
  const [q, kv] = [config.numAttentionHeads * d, config.numKeyValueHeads * d];
  const tensors = new Map<string, readonly number[]>([['model.embed_tokens.weight', [V, H]]]);
  const linear = (name: string, out: number, inputs: number, bias: boolean) => {
    tensors.set(`${name}.weight`, [out, inputs]);
    if (bias) tensors.set(`${name}.bias`, [out]);
  };
  for (let n = 0; n < config.numHiddenLayers; n++) {
    const layer = `model.layers.${n}`;
    tensors.set(`${layer}.input_layernorm.weight`, [H]);
    linear(`${layer}.self_attn.q_proj`, q, H, config.attentionBias);
    linear(`${layer}.self_attn.k_proj`, kv, H, config.attentionBias);
    linear(`${layer}.self_attn.v_proj`, kv, H, config.attentionBias);
    linear(`${layer}.self_attn.o_proj`, H, q, config.attentionBias);
    tensors.set(`${layer}.post_attention_layernorm.weight`, [H]);
    linear(`${layer}.mlp.gate_proj`, I, H, config.mlpBias);
    linear(`${layer}.mlp.up_proj`, I, H, config.mlpBias);
    linear(`${layer}.mlp.down_proj`, H, I, config.mlpBias);
  }
  tensors.set('model.norm.weight', [H]);
  if (!config.tieWordEmbeddings) tensors.set('lm_head.weight', [V, H]);
  return tensors;
}

/** config.json of a config, in the dialect that every version of transformers reads. */
export function llamaConfigJson(config: LlamaConfig): Record<string, unknown> {
  const scaling = config.ropeScaling;
  return {
    architectures: ['LlamaForCausalLM'],
    attention_bias: config.attentionBias,
    attention_dropout: 0,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length > 1 ? config.eosTokenIds : (config.eosTokenIds[0] ?? null),
    head_dim: config.headDim,
    hidden_act: 'silu',
    hidden_size: config.hiddenSize,
    initializer_range: config.initializerRange,
    intermediate_size: config.intermediateSize,
    max_position_embeddings: config.maxPositionEmbeddings,
    mlp_bias: config.mlpBias,
    model_type: 'llama',
    num_attention_heads: config.numAttentionHeads,
    num_hidden_layers: config.numHiddenLayers,
    num_key_value_heads: config.numKeyValueHeads,
    pad_token_id: config.padTokenId,
    rms_norm_eps: config.rmsNormEps,
    rope_scaling: scaling && {
      factor: scaling.factor,
      high_freq_factor: scaling.highFreqFactor,
      low_freq_factor: scaling.lowFreqFactor,
      original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
      rope_type: 'llama3',
    },
    rope_theta: config.ropeTheta,
    tie_word_embeddings: config.tieWordEmbeddings,
    vocab_size: config.vocabSize,
  };
}
