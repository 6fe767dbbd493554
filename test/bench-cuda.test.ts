/** @file The GPU's benchmark on a small model, on a GPU or the emulator: that it runs, and that its verification can fail. No time is asserted. */
import { fileURLToPath } from 'node:url';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { LLAMA3_8B, randomLlama } from '../bench/cuda/llama.js';
import { measureRow } from '../bench/cuda/measure.js';
import { verifyOnDevice } from '../bench/cuda/verify.js';
import { describeCuda } from '../packages/backend-cuda/test/cuda.js';

const CONFIGS = fileURLToPath(new URL('../configs/sparsity', import.meta.url));
const heads = { hiddenSize: 256, intermediateSize: 512, numAttentionHeads: 2, numKeyValueHeads: 1 };
const shape = { ...LLAMA3_8B, ...heads, vocabSize: 512, numHiddenLayers: 2 };

describeCuda('the benchmark of a GPU', () => {
  it('verifies LoRA, SparseLoRA and DoRA, and the first two on a base in FP8 and in NF4', {
    timeout: 120_000,
  }, async () => {
    const before = tf.memory().numTensors;
    const said: string[] = [];
    const verified = await verifyOnDevice(CONFIGS, (line) => said.push(line), { shape });
    expect(verified.map((fact) => fact.split(/( in bf16)? against/)[0])).toEqual([
      ...['dense LoRA', 'SparseLoRA', 'DoRA', 'dense LoRA on a base in FP8', 'SparseLoRA on a base in FP8'],
      ...['QLoRA on a base in NF4', 'SparseQLoRA on a base in NF4, layers run again'],
    ]);
    expect(said).toHaveLength(7);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('fails to verify where float computes other channels than bf16 did', { timeout: 120_000 }, async () => {
    const tamper: NonNullable<Parameters<typeof verifyOnDevice>[2]>['tamper'] = (chosen) => {
      for (const [name, { indices, total }] of chosen) {
        const others = Array.from({ length: total }, (_, n) => n).filter((n) => !indices.includes(n));
        chosen.set(name, { indices: Int32Array.from(others.slice(0, indices.length)), total });
      }
    };
    await expect(verifyOnDevice(CONFIGS, () => {}, { shape, tamper })).rejects.toThrow(
      /^verification: SparseLoRA in bf16 against float32 compositions: /,
    );
  });

  it.each(['bf16', 'fp8', 'nf4'] as const)('measures a row in %s', { timeout: 120_000 }, async (basePrecision) => {
    const model = await randomLlama(shape, 'bf16', { basePrecision });
    const row = {
      name: 'small',
      dora: false,
      sparsity: 'llama3-8b-math10k.yaml',
      batch: 2,
      length: 24,
      labelled: 6,
      target: null,
    };
    const result = await measureRow(model, row, { steps: 2, warmup: 1, configs: CONFIGS, profiled: 1, floorRounds: 1 });
    expect(result).toMatchObject({
      name: 'small',
      losses: [expect.any(Number), expect.any(Number), expect.any(Number)],
    });
    expect(result.launches).toBeGreaterThan(50);
    const names = result.profile!.map(({ name }) => name);
    expect(names).toContain('packed_attention');
    expect(names.includes('transpose_bytes')).toBe(basePrecision === 'fp8');
    expect(result.peakGiB).toBeLessThanOrEqual(result.reservedGiB!);
    model.dispose();
  });
});
