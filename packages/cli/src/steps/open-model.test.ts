/** @file What the wasm backend cannot address is told before it is loaded, by what the weights will take there. */
import { type LlamaConfig, parseLlamaConfig } from '@spft/models';
import { describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { requireAddressable } from './open-model.js';

/** Of the shape of Llama 3.2 3B: 3.2 thousand million numbers, 0.4 of them in the embedding, which is the head too. */
const CONFIG: LlamaConfig = parseLlamaConfig(
  {
    ...{
      architectures: ['LlamaForCausalLM'],
      model_type: 'llama',
      hidden_act: 'silu',
      rms_norm_eps: 1e-5,
      rope_theta: 5e5,
    },
    ...{
      vocab_size: 128256,
      hidden_size: 3072,
      intermediate_size: 8192,
      num_hidden_layers: 28,
      tie_word_embeddings: true,
    },
    ...{ num_attention_heads: 24, num_key_value_heads: 8, head_dim: 128, max_position_embeddings: 8192 },
  },
  'config.json',
);
const in4Bits = (tensor: string) => (tensor.endsWith('_proj.weight') ? 'NF4' : 'BF16');

describe('requireAddressable()', () => {
  it('refuses what does not fit into the memory of wasm, saying in which form it does not', async () => {
    await useBackend('wasm');
    expect(() => requireAddressable('it', CONFIG)).toThrow('model it: its weights take 12.0 GiB in float32, more than');
    expect(() => requireAddressable('it', CONFIG, { dequantise: true }, in4Bits)).toThrow('in float32');
    const large = { ...CONFIG, numHiddenLayers: 60 };
    expect(() => requireAddressable('it', large, { basePrecision: 'nf4' })).toThrow('with matrices in 4 bits');
  });

  it('takes what is quantised while it is loaded, or lies so on the disk', async () => {
    await useBackend('wasm');
    requireAddressable('it', CONFIG, { basePrecision: 'nf4' });
    requireAddressable('it', CONFIG, {}, in4Bits);
    // With its embedding in 4 bits too, more layers fit.
    const larger = { ...CONFIG, numHiddenLayers: 44 };
    expect(() => requireAddressable('it', larger, { basePrecision: 'fp4' })).toThrow('more than');
    requireAddressable('it', larger, { basePrecision: 'fp4', quantiseEmbeddings: true });
  });

  it('asks nothing of other backends', async () => {
    await useBackend('cpu');
    requireAddressable('it', { ...CONFIG, numHiddenLayers: 1000 });
  });
});
