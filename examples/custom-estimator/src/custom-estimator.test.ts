import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import { run } from './custom-estimator.js';
import { scoreChannels } from './score-channels.js';
import { createGpuScores } from './score-channels-gpu.js';

describe('custom-estimator', () => {
  beforeAll(() => useBackend('wasm'));

  it('fine-tunes with channels of its own choice, the same by TypeScript and by gpu.js', async () => {
    const lines: string[] = [];
    const { plain, compiled, same, compiledFor } = await run({ steps: 3, print: (line) => lines.push(line) });
    // Three sparse layers in three steps, 1024 · 0.1 channels each.
    expect(plain.choices.map((choice) => choice.length)).toEqual(Array(9).fill(102));
    expect(same).toBe(9);
    expect(compiled.losses).toEqual(plain.losses);
    expect(plain.losses).toHaveLength(3);
    expect(plain.losses[2]).toBeLessThan(plain.losses[0]!);
    expect(compiledFor).toMatch(/Kernel$/);
    expect(lines[2]).toBe('102 of 1024 channels in three of four layers; 9 of 9 choices the same');
  });
});

describe('createGpuScores()', () => {
  const weights = {
    hidden: 2,
    gate: Float32Array.of(1, 0, 0, 2, -1, 1),
    up: Float32Array.of(1, 1, 3, 0, 0, 1),
    reach: Float32Array.of(1, 2, 3),
  };
  const mean = Float32Array.of(0.5, -1);
  const silu = (x: number) => x / (1 + Math.exp(-x));
  const expected = [silu(0.5) * -0.5, silu(-2) * 1.5 * 2, silu(-1.5) * -1 * 3].map(Math.abs);

  it.each(['gpu', 'cpu'] as const)('has the scores of the formula in mode %s', async (mode) => {
    const gpu = createGpuScores(mode);
    expect(gpu.compiledFor()).toBeNull();
    const scores = gpu.scoreChannels(mean, weights);
    expect(scores).toHaveLength(3);
    scores.forEach((score, n) => {
      expect(score).toBeCloseTo(expected[n]!, 5);
    });
    expect(gpu.compiledFor()).not.toBeNull();
    await gpu.dispose();
  });

  it('is what the plain function says', () => {
    scoreChannels(mean, weights).forEach((score, n) => {
      expect(score).toBeCloseTo(expected[n]!, 5);
    });
  });
});
