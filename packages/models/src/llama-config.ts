/**
 * @file `config.json` of a Llama model: typed, checked, both dialects. transformers 5 writes `rope_parameters`, earlier versions
 * `rope_theta` and `rope_scaling`. Defaults are those of transformers' `LlamaConfig`.
 */
import { showValue } from '@spft/safetensors';
import type { RopeScaling } from '@spft/sparse-ops';
import { parseQuantization } from './bitsandbytes.js';
import { isJson, type Json, Reader } from './config-reader.js';
import { ModelError } from './errors.js';
import { parseRope, ropeScalingJson } from './rope-config.js';

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
  /** How the context is stretched, or null for none. */
  readonly ropeScaling: RopeScaling | null;
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

/** Models have a hundred or two; a list of the tensors of 1e9 layers would fill the memory before the first is looked for. */
const MAX_LAYERS = 10_000;

/**
 * @param json the parsed config.json.
 * @param file its name, for messages.
 * @throws ModelError when it is no Llama model that can be computed here, naming every key that stands against it.
 */
export function parseLlamaConfig(json: unknown, file = 'config.json'): LlamaConfig {
  if (!isJson(json)) {
    throw new ModelError(`${file}: wanted a JSON object, found ${showValue(json)}`);
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
  const maxPositionEmbeddings = reader.count('max_position_embeddings', 2048);
  const rope = parseRope(json, reader, { headDim, maxPositionEmbeddings });
  const config: LlamaConfig = {
    vocabSize: reader.count('vocab_size'),
    hiddenSize,
    intermediateSize: reader.count('intermediate_size'),
    numHiddenLayers: reader.number(
      'num_hidden_layers',
      undefined,
      `a whole number from 1 to ${MAX_LAYERS}`,
      (n) => Number.isSafeInteger(n) && n > 0 && n <= MAX_LAYERS,
    ),
    numAttentionHeads,
    numKeyValueHeads,
    headDim,
    rmsNormEps: reader.positive('rms_norm_eps', 1e-6),
    ...rope,
    maxPositionEmbeddings,
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
    reader.problems.push(`hidden_act: wanted 'silu', found ${showValue(act)}; other activations are not computed here`);
  }
  if ((json.attention_dropout ?? 0) !== 0) {
    reader.problems.push(
      `attention_dropout: wanted 0, found ${showValue(json.attention_dropout)}; dropout in attention is not computed here, set 0 to train without`,
    );
  }
  if (reader.problems.length > 0) throw new ModelError(`${file}: ${reader.problems.join('\n  ')}`);
  return config;
}

function checkArchitecture(json: Json, file: string): void {
  const architectures = Array.isArray(json.architectures) ? json.architectures : [];
  const found =
    architectures.length > 0
      ? architectures
          .slice(0, 4)
          .map((name) => (typeof name === 'string' ? name.slice(0, 60) : showValue(name)))
          .join(', ')
      : `model_type ${showValue(json.model_type)}`;
  const isLlama =
    architectures.length > 0
      ? architectures.includes('LlamaForCausalLM') && (json.model_type ?? 'llama') === 'llama'
      : json.model_type === 'llama';
  if (!isLlama) {
    throw new ModelError(
      `${file}: unsupported architecture ${found}${architectures.length > 0 && json.model_type !== undefined ? ` (model_type ${showValue(json.model_type)})` : ''}; ` +
        'supported is LlamaForCausalLM with model_type "llama": Llama 2, 3, 3.1, 3.2, SmolLM2 and others of their architecture',
    );
  }
  parseQuantization(json.quantization_config, file);
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
    rope_scaling: config.ropeScaling && ropeScalingJson(config.ropeScaling),
    rope_theta: config.ropeTheta,
    tie_word_embeddings: config.tieWordEmbeddings,
    vocab_size: config.vocabSize,
  };
}
