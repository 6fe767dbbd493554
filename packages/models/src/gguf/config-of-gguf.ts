/** @file The config.json that a GGUF file's metadata stand for. */
import type { GgufFile, Metadata } from '@spft/gguf';
import { ModelError } from '../errors.js';
import { scalingOfFactors } from './rope-factors.js';

type Json = Record<string, unknown>;

/** Keys that change what is computed and are not computed here, with the value at which they change nothing. */
const NEUTRAL: Readonly<Record<string, number>> = {
  'llama.expert_count': 0,
  'llama.attention.sliding_window': 0,
  'llama.attention.scale': 0,
  'llama.embedding_scale': 1,
  'llama.residual_scale': 1,
  'llama.logit_scale': 1,
  'llama.rope.scaling.yarn_log_multiplier': 0,
  'llama.rope.scaling.yarn_ext_factor': 1,
  'llama.rope.scaling.yarn_attn_factor': 1,
};

/** Tokens that end an assistant's turn, which llama.cpp knows by their text. */
const TURN_ENDS = ['<|eot_id|>', '<|im_end|>'];

/**
 * @returns config.json, as `parseLlamaConfig` takes it.
 * @throws ModelError when the file is no Llama's, a part of a model, or asks for what is not computed here. @throws GgufError for values of wrong types.
 */
export async function configOfGguf(file: GgufFile): Promise<Json> {
  const { metadata } = file;
  requireLlama(file);
  const count = (key: string) => required(file, key, metadata.count(key));
  const hidden = count('llama.embedding_length');
  const heads = count('llama.attention.head_count');
  const headDim = metadata.count('llama.attention.key_length') ?? hidden / heads;
  const same: readonly (readonly [string, number])[] = [
    ['llama.attention.value_length', headDim],
    ['llama.rope.dimension_count', headDim],
  ];
  for (const [key, wanted] of same) {
    const found = metadata.count(key) ?? headDim;
    if (found !== wanted)
      refuse(file, `${key}: wanted ${wanted}, the size of a head, found ${found}; others are not computed here`);
  }
  const theta = metadata.number('llama.rope.freq_base') ?? 10000;
  const [embedding] = file.entry('token_embd.weight').shape;
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: embedding,
    hidden_size: hidden,
    intermediate_size: count('llama.feed_forward_length'),
    num_hidden_layers: count('llama.block_count'),
    num_attention_heads: heads,
    num_key_value_heads: metadata.count('llama.attention.head_count_kv') ?? heads,
    head_dim: headDim,
    // As float32, of which the shortest decimal is meant: 1e-5 and not 9.999999747378752e-06.
    rms_norm_eps: shortest(
      required(
        file,
        'llama.attention.layer_norm_rms_epsilon',
        metadata.number('llama.attention.layer_norm_rms_epsilon'),
      ),
    ),
    rope_theta: shortest(theta),
    rope_scaling: await ropeScaling(file, headDim, theta),
    max_position_embeddings: count('llama.context_length'),
    tie_word_embeddings: !file.has('output.weight'),
    attention_bias: file.has('blk.0.attn_q.bias'),
    mlp_bias: file.has('blk.0.ffn_gate.bias'),
    hidden_act: 'silu',
    bos_token_id: metadata.count('tokenizer.ggml.bos_token_id') ?? null,
    eos_token_id: endsOf(metadata),
    pad_token_id: metadata.count('tokenizer.ggml.padding_token_id') ?? null,
  };
}

/** @throws ModelError when the file is no Llama's, an adapter, a part of a model, or asks for what is not computed here. */
export function requireLlama(file: GgufFile): void {
  const { metadata } = file;
  if (metadata.string('general.type') === 'adapter') {
    refuse(file, 'is an adapter and no model; adapters are read as PEFT has them (--adapter), the model is its base');
  }
  const architecture = metadata.string('general.architecture');
  if (architecture !== 'llama') {
    const found = architecture === undefined ? 'none' : `'${architecture.slice(0, 60)}'`;
    refuse(
      file,
      `general.architecture: wanted 'llama' (Llama 2, 3, 3.1, 3.2, SmolLM2 and others of their architecture), found ${found}; others are not computed here`,
    );
  }
  const parts = metadata.count('split.count') ?? 1;
  if (parts > 1)
    refuse(file, `is one of ${parts} parts of a model; join them first: llama-gguf-split --merge FIRST OUT`);
  for (const [key, neutral] of Object.entries(NEUTRAL)) {
    const found = metadata.number(key) ?? neutral;
    if (found !== neutral) refuse(file, `${key} is ${found}, which is not computed here`);
  }
}

async function ropeScaling(file: GgufFile, headDim: number, theta: number): Promise<Json | null> {
  const { metadata } = file;
  const factors = file.has('rope_freqs.weight') ? await file.float32('rope_freqs.weight') : null;
  const legacy = metadata.number('llama.rope.scale_linear');
  const type = metadata.string('llama.rope.scaling.type') ?? (legacy === undefined ? 'none' : 'linear');
  const factor = metadata.number('llama.rope.scaling.factor') ?? legacy ?? 1;
  if (factors !== null) {
    if (factors.every((one) => one === 1) && type === 'none') return null;
    const scaling = type === 'none' ? scalingOfFactors(factors, headDim, theta) : null;
    if (scaling === null)
      refuse(file, "rope_freqs.weight: is no scaling of Llama 3.1's kind; other frequencies are not computed here");
    return {
      rope_type: 'llama3',
      factor: scaling.factor,
      low_freq_factor: scaling.lowFreqFactor,
      high_freq_factor: scaling.highFreqFactor,
      original_max_position_embeddings: scaling.originalMaxPositionEmbeddings,
    };
  }
  if (type === 'none') return null;
  if (type === 'linear') return factor === 1 || factor === 0 ? null : { rope_type: 'linear', factor };
  if (type !== 'yarn') {
    refuse(
      file,
      `llama.rope.scaling.type: wanted none, linear or yarn, found '${type.slice(0, 40)}'; other scalings are not computed here`,
    );
  }
  const key = 'llama.rope.scaling.original_context_length';
  const usual = factor <= 1 ? 1 : 0.1 * Math.log(factor) + 1;
  return {
    rope_type: 'yarn',
    factor,
    original_max_position_embeddings: required(file, key, metadata.count(key)),
    attention_factor: usual * (metadata.number('llama.rope.scaling.attn_factor') ?? 1),
    beta_fast: metadata.number('llama.rope.scaling.yarn_beta_fast') ?? 32,
    beta_slow: metadata.number('llama.rope.scaling.yarn_beta_slow') ?? 1,
    truncate: true,
  };
}

function endsOf(metadata: Metadata): number[] {
  const ids = ['eos', 'eot', 'eom'].flatMap((name) => metadata.count(`tokenizer.ggml.${name}_token_id`) ?? []);
  const [tokens, types] = [metadata.strings('tokenizer.ggml.tokens'), metadata.numbers('tokenizer.ggml.token_type')];
  for (const text of TURN_ENDS) {
    const id = tokens?.indexOf(text) ?? -1;
    if (id >= 0 && types?.[id] === 3) ids.push(id);
  }
  return [...new Set(ids)];
}

/** The shortest decimal that is this float32. */
function shortest(value: number): number {
  for (let digits = 1; digits < 10; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}

function required<T>(file: GgufFile, key: string, value: T | undefined): T {
  return value === undefined
    ? refuse(file, `${key}: wanted in the metadata, found none; the file is no complete Llama`)
    : value;
}

function refuse(file: GgufFile, problem: string): never {
  throw new ModelError(`${file.name === undefined ? '' : `${file.name}: `}${problem}`);
}
