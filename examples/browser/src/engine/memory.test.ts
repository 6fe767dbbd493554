import { readFile } from 'node:fs/promises';
import { parseLlamaConfig } from '@spft/models';
import { fromPretrained, loadTokenizer } from '@spft/models/node';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { memoryStore } from '../../../../packages/trainer/test/memory-store.js';
import { useBackend } from '../../../../test/support/backends.js';
import type { RunSettings } from '../protocol.js';
import { estimateMemory, requireMemory } from './memory.js';
import { recordsOf, samplesOf, train } from './training-run.js';
import { prepare } from './tuned-model.js';

const BASE = 'examples/quickstart/base';

const settings: RunSettings = {
  ...{ model: { kind: 'quickstart' }, method: 'lora', backend: 'wasm', steps: 2, batchSize: 48, learningRate: 0.003 },
  ...{ rank: 8, maxLength: 128, sparsity: 0.75, saveEvery: 100 },
};

/** SmolLM2-135M's. */
const SMOLLM2 = parseLlamaConfig({
  ...{ architectures: ['LlamaForCausalLM'], model_type: 'llama', vocab_size: 49152, hidden_size: 576 },
  ...{ intermediate_size: 1536, num_hidden_layers: 30, num_attention_heads: 9, num_key_value_heads: 3 },
  ...{ max_position_embeddings: 8192, rms_norm_eps: 1e-5, rope_theta: 100000, tie_word_embeddings: true },
  hidden_act: 'silu',
});

describe('estimateMemory()', () => {
  beforeAll(() => useBackend('wasm'));

  it('is no less than what a run takes of the backend’s memory, and not three times as much', async () => {
    const [model, tokenizer] = [await fromPretrained(BASE), await loadTokenizer(BASE)];
    const data = { name: 'train.json', text: await readFile('examples/quickstart/data/train.json', 'utf8') };
    const samples = samplesOf(recordsOf(data), tokenizer, settings);
    const tuned = await prepare(model, settings);
    const { memory } = (tf.backend() as unknown as { wasm: { asm: { memory: WebAssembly.Memory } } }).wasm.asm;
    const before = memory.buffer.byteLength;
    await train({
      tuned,
      samples,
      settings,
      checkpoints: memoryStore(),
      resume: false,
      signal: new AbortController().signal,
    });
    const longest = Math.max(...samples.map(({ inputIds }) => inputIds.length));
    const tokens = settings.batchSize * longest;
    const estimate = estimateMemory(model.config, settings, tokens);
    const taken = memory.buffer.byteLength;
    expect(taken).toBeGreaterThan(1.5 * before);
    expect(estimate.total).toBeGreaterThan(taken);
    expect(estimate.total).toBeLessThan(3 * taken);
    tuned.dispose();
    model.dispose();
  }, 120_000);

  it('lets SmolLM2-135M run where it fits, and refuses it where not', () => {
    expect(estimateMemory(SMOLLM2, settings, 256).weights).toBeCloseTo(4 * 134_515_008, -6);
    const small = { ...settings, batchSize: 2, maxLength: 128 };
    expect(requireMemory(SMOLLM2, small, 8).total).toBeLessThan(1.5e9);
    expect(() => requireMemory(SMOLLM2, { ...small, batchSize: 64 }, null)).toThrow(
      /^Too little memory: .* and WebAssembly can use at most 4\.3 GB\. Nothing was loaded: choose a smaller batch than 64/,
    );
    expect(() => requireMemory(SMOLLM2, small, 0.5)).toThrow(
      /a tab on this machine can count on about 0\.4 GB\. Nothing was loaded: choose a smaller model\.$/,
    );
  });
});
