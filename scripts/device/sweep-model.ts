/** @file A random model of SmolLM2-135M's shapes with the tokenizer of another: `sweep-model.js TOKENIZER_DIR DIR`. */
import { copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { llamaTensors, parseLlamaConfig } from '@spft/models';
import { elementCount } from '@spft/safetensors';
import { writeSafetensorsModel } from '@spft/safetensors/node';

const CONFIG = {
  architectures: ['LlamaForCausalLM'],
  model_type: 'llama',
  bos_token_id: 0,
  eos_token_id: 1,
  hidden_act: 'silu',
  hidden_size: 576,
  intermediate_size: 1536,
  max_position_embeddings: 8192,
  num_attention_heads: 9,
  num_hidden_layers: 12,
  num_key_value_heads: 3,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  tie_word_embeddings: true,
  vocab_size: 49152,
};

const [from, to] = process.argv.slice(2) as [string, string];
mkdirSync(to, { recursive: true });
for (const name of readdirSync(from)) {
  if (name.includes('token')) copyFileSync(join(from, name), join(to, name));
}
writeFileSync(join(to, 'config.json'), JSON.stringify(CONFIG));
let state = 1;
/** In bf16, within 0.04 of 0; norms are 1. */
const data = (name: string, shape: readonly number[]) => () => {
  const bits = new Uint16Array(elementCount(shape)).fill(0x3f80);
  const bytes = new Uint8Array(bits.buffer);
  if (name.includes('norm')) return bytes;
  const one = new Float32Array(1);
  const upper = new Uint16Array(one.buffer, 2, 1);
  for (let n = 0; n < bits.length; n++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    one[0] = (state / 2 ** 31 - 1) * 0.04;
    bits[n] = upper[0]!;
  }
  return bytes;
};
const tensors = [...llamaTensors(parseLlamaConfig(CONFIG))].map(
  ([name, shape]) => [name, { dtype: 'BF16' as const, shape, data: data(name, shape) }] as const,
);
await writeSafetensorsModel(to, Object.fromEntries(tensors));
