import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { BATCH, TINY, tinyBatch, tinyModel } from '../test/tiny.js';
import { embeddingNoise } from './embedding-noise.js';
import { labelledRows } from './labelled-rows.js';

describe.each(TEST_BACKENDS)('LlamaForCausalLM.loss() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('smooths labels as transformers’ LabelSmoother does, and leaves nothing behind', async () => {
    const model = await tinyModel();
    const batch = tinyBatch(BATCH);
    const { rows, labels } = labelledRows(batch);
    const logits = (await model.logits(batch).array()) as number[][];
    // Logits are in packed order, rows in the layout's.
    const packed = new Map([...batch.layout.rowOfToken].map((row, token) => [row, token]));
    const epsilon = 0.1;
    let sum = 0;
    rows.forEach((row, n) => {
      const z = logits[packed.get(row)!]!;
      const lse = Math.log(z.reduce((total, value) => total + Math.exp(value), 0));
      const mean = z.reduce((total, value) => total + value, 0) / z.length;
      sum += (1 - epsilon) * (lse - z[labels[n]!]!) + epsilon * (lse - mean);
    });
    const options = { training: true, seed: 1, normalizer: rows.length, labelSmoothing: epsilon };
    const loss = model.loss(batch, options);
    expect((await loss.data())[0]).toBeCloseTo(sum / rows.length, 4);
    const tensors = tf.memory().numTensors;
    model.loss(batch, options).dispose();
    expect(tf.memory().numTensors).toBe(tensors);
    model.dispose();
  });

  it('draws the same noise from the same seed, in training alone, within its bound', async () => {
    const model = await tinyModel();
    const batch = tinyBatch(BATCH);
    const lossOf = async (training: boolean, seed: number, neftuneNoiseAlpha: number) => {
      const loss = model.loss(batch, { training, seed, neftuneNoiseAlpha, normalizer: 1 });
      const [value] = await loss.data();
      loss.dispose();
      return value!;
    };
    expect(await lossOf(true, 1, 5)).toBe(await lossOf(true, 1, 5));
    expect(await lossOf(true, 1, 5)).not.toBe(await lossOf(true, 2, 5));
    expect(await lossOf(false, 1, 5)).toBe(await lossOf(true, 1, 0));
    model.dispose();
    const noise = embeddingNoise(batch.layout, TINY.hiddenSize, 5, 3);
    const { sequenceStarts, rowOfToken } = batch.layout;
    for (let b = 0; b + 1 < sequenceStarts.length; b++) {
      const length = sequenceStarts[b + 1]! - sequenceStarts[b]!;
      const bound = 5 / Math.sqrt(length * TINY.hiddenSize);
      let [largest, total, count] = [0, 0, 0];
      for (let token = sequenceStarts[b]!; token < sequenceStarts[b + 1]!; token++) {
        const start = rowOfToken[token]! * TINY.hiddenSize;
        for (const value of noise.subarray(start, start + TINY.hiddenSize)) {
          largest = Math.max(largest, Math.abs(value));
          total += value;
          count++;
        }
      }
      expect(largest).toBeLessThanOrEqual(bound * 1.000001);
      expect(largest).toBeGreaterThan(bound / 2);
      expect(Math.abs(total / count)).toBeLessThan(bound / 2);
    }
  });
});
