import { describe, expect, it } from 'vitest';
import { ModelError } from './errors.js';
import { llamaConfigJson, llamaTensors, parseLlamaConfig } from './llama-config.js';

// The keys of the published config.json files that say what is computed.
const llama2 = {
  architectures: ['LlamaForCausalLM'],
  bos_token_id: 1,
  eos_token_id: 2,
  hidden_act: 'silu',
  hidden_size: 4096,
  initializer_range: 0.02,
  intermediate_size: 11008,
  max_position_embeddings: 4096,
  model_type: 'llama',
  num_attention_heads: 32,
  num_hidden_layers: 32,
  num_key_value_heads: 32,
  pretraining_tp: 1,
  rms_norm_eps: 1e-5,
  rope_scaling: null,
  tie_word_embeddings: false,
  torch_dtype: 'float16',
  vocab_size: 32000,
};
const llama32 = {
  architectures: ['LlamaForCausalLM'],
  attention_bias: false,
  attention_dropout: 0.0,
  bos_token_id: 128000,
  eos_token_id: [128001, 128008, 128009],
  head_dim: 64,
  hidden_act: 'silu',
  hidden_size: 2048,
  intermediate_size: 8192,
  max_position_embeddings: 131072,
  mlp_bias: false,
  model_type: 'llama',
  num_attention_heads: 32,
  num_hidden_layers: 16,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  rope_scaling: {
    factor: 32.0,
    high_freq_factor: 4.0,
    low_freq_factor: 1.0,
    original_max_position_embeddings: 8192,
    rope_type: 'llama3',
  },
  rope_theta: 500000.0,
  tie_word_embeddings: true,
  vocab_size: 128256,
};
const smolLM2 = {
  architectures: ['LlamaForCausalLM'],
  bos_token_id: 0,
  eos_token_id: 0,
  hidden_act: 'silu',
  hidden_size: 576,
  initializer_range: 0.041666666666666664,
  intermediate_size: 1536,
  is_llama_config: true,
  max_position_embeddings: 8192,
  model_type: 'llama',
  num_attention_heads: 9,
  num_hidden_layers: 30,
  num_key_value_heads: 3,
  rms_norm_eps: 1e-5,
  rope_interleaved: false,
  rope_scaling: null,
  rope_theta: 100000,
  tie_word_embeddings: true,
  vocab_size: 49152,
};

describe('parseLlamaConfig()', () => {
  it('reads Llama 2', () => {
    expect(parseLlamaConfig(llama2)).toEqual({
      vocabSize: 32000,
      hiddenSize: 4096,
      intermediateSize: 11008,
      numHiddenLayers: 32,
      numAttentionHeads: 32,
      numKeyValueHeads: 32,
      headDim: 128,
      rmsNormEps: 1e-5,
      ropeTheta: 10000,
      ropeScaling: null,
      maxPositionEmbeddings: 4096,
      tieWordEmbeddings: false,
      attentionBias: false,
      mlpBias: false,
      initializerRange: 0.02,
      bosTokenId: 1,
      eosTokenIds: [2],
      padTokenId: null,
    });
  });

  it('reads Llama 3.2: scaled frequencies, several ends of text, tied embeddings', () => {
    expect(parseLlamaConfig(llama32)).toMatchObject({
      headDim: 64,
      numKeyValueHeads: 8,
      ropeTheta: 500000,
      ropeScaling: {
        ropeType: 'llama3',
        factor: 32,
        lowFreqFactor: 1,
        highFreqFactor: 4,
        originalMaxPositionEmbeddings: 8192,
      },
      tieWordEmbeddings: true,
      eosTokenIds: [128001, 128008, 128009],
    });
  });

  it('reads SmolLM2: head size from hidden size, its own base of frequencies', () => {
    expect(parseLlamaConfig(smolLM2)).toMatchObject({
      headDim: 64,
      numKeyValueHeads: 3,
      ropeTheta: 100000,
      ropeScaling: null,
      bosTokenId: 0,
      eosTokenIds: [0],
    });
  });

  it('reads the same from rope_parameters as from rope_theta and rope_scaling', () => {
    const { rope_theta, rope_scaling, ...rest } = llama32;
    const newer = { ...rest, rope_parameters: { ...rope_scaling, rope_theta } };
    expect(parseLlamaConfig(newer)).toEqual(parseLlamaConfig(llama32));
  });

  it("has transformers' defaults for what is not said", () => {
    const { num_key_value_heads, rms_norm_eps, bos_token_id, eos_token_id, ...bare } = llama2;
    expect(parseLlamaConfig(bare)).toMatchObject({
      numKeyValueHeads: 32,
      rmsNormEps: 1e-6,
      bosTokenId: 1,
      eosTokenIds: [2],
    });
    expect(parseLlamaConfig({ ...bare, bos_token_id: null, eos_token_id: null, pad_token_id: -1 })).toMatchObject({
      bosTokenId: null,
      eosTokenIds: [],
      padTokenId: null,
    });
  });

  it.each<[string, object, string]>([
    [
      'another architecture',
      { architectures: ['Qwen2ForCausalLM'], model_type: 'qwen2' },
      'x/config.json: unsupported architecture Qwen2ForCausalLM (model_type "qwen2"); supported is LlamaForCausalLM',
    ],
    [
      'another model type',
      { architectures: undefined, model_type: 'mistral' },
      'unsupported architecture model_type "mistral"',
    ],
    [
      'a model type that contradicts the architecture',
      { model_type: 'mixtral' },
      'unsupported architecture LlamaForCausalLM (model_type "mixtral")',
    ],
    [
      'no architecture at all',
      { architectures: undefined, model_type: undefined },
      'unsupported architecture model_type nothing',
    ],
    [
      'quantized weights',
      { quantization_config: { quant_method: 'gptq' } },
      'the weights are quantized (quantization_config): quant_method "gptq"; supported are weights in bf16, f16 and f32, and bitsandbytes in 4 bits (nf4, fp4)',
    ],
    ['another activation', { hidden_act: 'gelu' }, 'hidden_act: wanted \'silu\', found "gelu"'],
    [
      'an unknown scaling',
      { rope_scaling: { type: 'longrope', factor: 2 } },
      "rope_scaling.rope_type: wanted 'default', 'linear', 'dynamic', 'yarn' or 'llama3', found \"longrope\"",
    ],
    [
      'an unknown scaling in the newer dialect',
      { rope_scaling: null, rope_parameters: { rope_type: 'su', rope_theta: 1e4 } },
      "rope_parameters.rope_type: wanted 'default', 'linear', 'dynamic', 'yarn' or 'llama3', found \"su\"",
    ],
    [
      'a scaling that lacks a number',
      { rope_scaling: { rope_type: 'llama3', factor: 8 } },
      'rope_scaling.low_freq_factor: wanted a number above 0, found nothing',
    ],
    [
      'partial rotation',
      { rope_parameters: { rope_type: 'default', partial_rotary_factor: 0.5 } },
      'rope_parameters.partial_rotary_factor: wanted 1, found 0.5',
    ],
    [
      'key/value heads that do not divide the heads',
      { num_key_value_heads: 5 },
      'num_key_value_heads: wanted a divisor of num_attention_heads (32), found 5',
    ],
    ['heads that do not divide the hidden size', { hidden_size: 4097 }, 'head_dim: wanted an even whole number'],
    ['a negative size', { intermediate_size: -1 }, 'intermediate_size: wanted a whole number above 0, found -1'],
    ['a text for a number', { rms_norm_eps: '1e-5' }, 'rms_norm_eps: wanted a number above 0, found "1e-5"'],
    ['a missing size', { vocab_size: undefined }, 'vocab_size: wanted a whole number above 0, found nothing'],
    [
      'a token id that is none',
      { eos_token_id: '</s>' },
      'eos_token_id: wanted a token id, a list of them or null, found "</s>"',
    ],
    ['a text for a truth value', { attention_bias: 'no' }, 'attention_bias: wanted true or false, found "no"'],
    ['dropout in attention', { attention_dropout: 0.1 }, 'attention_dropout: wanted 0, found 0.1'],
  ])('refuses %s', (_, change, message) => {
    const parse = () => parseLlamaConfig({ ...llama2, ...change }, 'x/config.json');
    expect(parse).toThrow(ModelError);
    expect(parse).toThrow(message);
  });

  it('says everything that is wrong at once', () => {
    expect(() => parseLlamaConfig({ ...llama2, vocab_size: 0, hidden_act: 'relu' })).toThrow(
      /vocab_size: .*\n {2}hidden_act: /,
    );
  });

  it('refuses what is no object', () => {
    expect(() => parseLlamaConfig([])).toThrow('config.json: wanted a JSON object, found []');
  });
});

describe('llamaTensors()', () => {
  it('counts the parameters that the models are known for', () => {
    const parameters = (json: object) =>
      [...llamaTensors(parseLlamaConfig(json)).values()].reduce((sum, s) => sum + s.reduce((a, b) => a * b), 0);
    expect(parameters(llama2)).toBe(6_738_415_616);
    expect(parameters(llama32)).toBe(1_235_814_400);
    expect(parameters(smolLM2)).toBe(134_515_008);
  });

  it('has biases where the config has them, and no head where it is tied', () => {
    const names = (change: object) => [...llamaTensors(parseLlamaConfig({ ...smolLM2, ...change })).keys()];
    expect(names({})).not.toContain('lm_head.weight');
    expect(names({ tie_word_embeddings: false })).toContain('lm_head.weight');
    expect(names({}).filter((n) => n.endsWith('.bias'))).toEqual([]);
    expect(names({ attention_bias: true, mlp_bias: true }).filter((n) => n.endsWith('.bias'))).toHaveLength(7 * 30);
  });
});

describe('llamaConfigJson()', () => {
  it.each([
    ['llama2', llama2],
    ['llama32', llama32],
    ['smolLM2', smolLM2],
  ])('writes what parseLlamaConfig reads, for %s', (_, json) => {
    const config = parseLlamaConfig(json);
    expect(parseLlamaConfig(JSON.parse(JSON.stringify(llamaConfigJson(config))))).toEqual(config);
  });
});
