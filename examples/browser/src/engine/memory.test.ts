/**
 * @file What a run is said to take, held against what it took.
 * @own-process as WebAssembly's memory never shrinks, so that what other files took would count, and as a backend for WebGPU is registered.
 */
import { readFile } from 'node:fs/promises';
import { parseLlamaConfig, type WeightMemory, weightMemory } from '@spft/models';
import { fromPretrained, loadTokenizer, openModelDirectory } from '@spft/models/node';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { describeWebGPU, useWebGPU, webgpu } from '../../../../packages/backend-webgpu/test/webgpu.js';
import { memoryStore } from '../../../../packages/trainer/test/memory-store.js';
import { useBackend } from '../../../../test/support/backends.js';
import type { RunSettings } from '../protocol.js';
import { type BackendLimits, estimateMemory, requireMemory } from './memory.js';
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

const WASM: BackendLimits = { bytes: 2 ** 32, tensorBytes: Number.POSITIVE_INFINITY, whose: 'WebAssembly' };
const inBf16 = () => weightMemory(SMOLLM2, () => 'BF16');

/** What the quickstart's weights will take on the active backend, by its files. */
async function weightsOfBase(): Promise<WeightMemory> {
  const { config, weights, close } = await openModelDirectory(BASE);
  await close();
  return weightMemory(config, (name) => weights.entry(name).dtype);
}

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
    const estimate = estimateMemory(await weightsOfBase(), model.config, settings, tokens);
    const taken = memory.buffer.byteLength;
    expect(taken).toBeGreaterThan(1.5 * before);
    expect(estimate.total).toBeGreaterThan(taken);
    expect(estimate.total).toBeLessThan(3 * taken);
    tuned.dispose();
    model.dispose();
  }, 120_000);

  it('lets SmolLM2-135M run where it fits, and refuses it where not', () => {
    expect(inBf16().bytes).toBe(4 * 134_515_008);
    const small = { ...settings, batchSize: 2, maxLength: 128 };
    expect(requireMemory(inBf16(), SMOLLM2, small, WASM, 8).total).toBeLessThan(1.5e9);
    expect(() => requireMemory(inBf16(), SMOLLM2, { ...small, batchSize: 64 }, WASM, null)).toThrow(
      /^Too little memory: .* and WebAssembly can use at most 4\.3 GB\. Nothing was loaded: choose a smaller batch than 64/,
    );
    expect(() => requireMemory(inBf16(), SMOLLM2, small, WASM, 0.5)).toThrow(
      /a tab on this machine can count on about 0\.40 GB\. Nothing was loaded: choose a smaller model\.$/,
    );
  });

  it('counts the logits of a chunk of the loss, and not of a whole batch', () => {
    const { step } = estimateMemory(inBf16(), SMOLLM2, settings, 10_000);
    const { step: oneMore } = estimateMemory(inBf16(), SMOLLM2, settings, 10_001);
    // 2^23 numbers at most, three times; the rest grows with the tokens.
    expect(step - 10_000 * (oneMore - step)).toBeLessThanOrEqual(3 * 4 * 2 ** 23);
  });
});

describeWebGPU('estimateMemory() on webgpu', () => {
  beforeAll(useWebGPU);
  const limits = (tensorBytes = Number.POSITIVE_INFINITY): BackendLimits => ({
    ...{ bytes: Number.POSITIVE_INFINITY, tensorBytes, whose: 'WebGPU' },
  });
  const inUse = () => {
    webgpu().flush();
    return webgpu().memory().numBytesInGPU;
  };

  it('has the weights that the GPU has, in 16 bits, and is no less than what a run takes there', async () => {
    const weights = await weightsOfBase();
    const before = inUse();
    const [model, tokenizer] = [await fromPretrained(BASE), await loadTokenizer(BASE)];
    for (const { dataId } of new Set(model.tensors.values())) webgpu().uploadToGPU(dataId);
    expect(inUse() - before).toBe(weights.bytes);
    const small = { ...settings, batchSize: 2 };
    const data = { name: 'train.json', text: await readFile('examples/quickstart/data/train.json', 'utf8') };
    const samples = samplesOf(recordsOf(data).slice(0, 4), tokenizer, small);
    const tuned = await prepare(model, small);
    webgpu().memoryPool.resetPeak();
    await train({
      ...{ tuned, samples, settings: small, checkpoints: memoryStore(), resume: false },
      signal: new AbortController().signal,
    });
    const tokens = small.batchSize * Math.max(...samples.map(({ inputIds }) => inputIds.length));
    const { total } = estimateMemory(weights, model.config, small, tokens);
    const taken = webgpu().memoryPool.peakBytes - before;
    expect(taken).toBeGreaterThan(1.2 * weights.bytes);
    expect(total).toBeGreaterThan(taken);
    expect(total).toBeLessThan(3 * taken);
    tuned.dispose();
    model.dispose();
    expect(inUse()).toBe(before);
    // Shaders are compiled for a processor, which takes most of the time.
  }, 300_000);

  it('lets a model run that fits in 16 bits and would not in 32, and refuses tensors that no buffer can hold', () => {
    // Matrices in 16 bits, 61 norms in 32.
    expect(inBf16().bytes).toBe(2 * 134_515_008 + 2 * 61 * 576);
    const small = { ...settings, batchSize: 2, maxLength: 24 };
    expect(requireMemory(inBf16(), SMOLLM2, small, limits(), 0.5).weights).toBe(inBf16().bytes);
    const inFloat32 = weightMemory(SMOLLM2, () => 'F32');
    expect(inFloat32.bytes).toBe(4 * 134_515_008);
    expect(() => requireMemory(inFloat32, SMOLLM2, small, limits(), 0.5)).toThrow(/choose a smaller model\.$/);

    const MiB = 2 ** 20;
    expect(requireMemory(inBf16(), SMOLLM2, small, limits(64 * MiB), null).largest).toBe(2 * 49152 * 576);
    expect(() => requireMemory(inFloat32, SMOLLM2, small, limits(64 * MiB), null)).toThrow(
      'Too little memory: its largest tensor would take up to 0.11 GB, and WebGPU has room for 0.07 GB in one piece. Nothing was loaded: choose a smaller model.',
    );
    const long = { ...small, batchSize: 64, maxLength: 256 };
    expect(() => requireMemory(inBf16(), SMOLLM2, long, limits(64 * MiB), null)).toThrow(/smaller batch than 64/);
  });
});
