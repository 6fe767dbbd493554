import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { run } from './custom-trainer.js';

describe('custom-trainer', () => {
  beforeAll(() => useBackend('wasm'));

  it('learns with a quarter of the channels what it learns with all of them', async () => {
    const lines: string[] = [];
    const before = tf.memory().numTensors;
    const { untouched, dense, sparse, share } = await run({ steps: 120, print: (line) => lines.push(line) });
    expect(tf.memory().numTensors).toBe(before);

    expect(share).toBe(0.25);
    expect(untouched.accuracy).toBeLessThan(0.6);
    for (const { losses, accuracy } of [dense, sparse]) {
      const average = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
      expect(average(losses.slice(-20))).toBeLessThan(0.2 * average(losses.slice(0, 20)));
      expect(accuracy).toBeGreaterThan(0.75);
    }
    // The same batches from the same start: only the channels differ.
    expect(sparse.losses).not.toEqual(dense.losses);
    expect(lines.map((line) => line.split(/\s+/)[0])).toEqual(['', 'frozen', 'dense', 'sparse']);
    expect(lines[3]).toMatch(/^sparse +25 % +0\.\d{3} +\d\d\.\d %$/);
  });
});
