import { describe, expect, it } from 'vitest';
import { initialLora, seedFor, uniformGenerator } from './init.js';

const moments = (values: Float32Array) => {
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  return { mean, deviation: Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length) };
};

describe('initialLora()', () => {
  it('gives A uniform in ±1/√in and B zero, the same for the same seed', () => {
    const { a, b } = initialLora(true, 8, 400, 3, 1);
    const bound = 1 / Math.sqrt(400);
    expect(Math.max(...a.map(Math.abs))).toBeLessThanOrEqual(bound);
    expect(moments(a).deviation / (bound / Math.sqrt(3))).toBeCloseTo(1, 1);
    expect(Math.abs(moments(a).mean)).toBeLessThan(bound / 20);
    expect(b).toEqual(new Float32Array(24));
    expect(initialLora(true, 8, 400, 3, 1).a).toEqual(a);
    expect(initialLora(true, 8, 400, 3, 2).a).not.toEqual(a);
  });

  it('gives B values too for false, and A of deviation 1/r for gaussian', () => {
    const random = initialLora(false, 4, 100, 200, 1);
    expect(moments(random.b).deviation / (0.5 / Math.sqrt(3))).toBeCloseTo(1, 1);
    const { a, b } = initialLora('gaussian', 4, 1000, 3, 1);
    expect(moments(a).deviation / 0.25).toBeCloseTo(1, 1);
    expect(b.every((v) => v === 0)).toBe(true);
  });

  it('says what it does not compute', () => {
    expect(() => initialLora('orthogonal', 4, 8, 8, 1)).toThrow("init_lora_weights: 'orthogonal' is read from files");
  });
});

describe('seedFor()', () => {
  it('differs by seed and by name', () => {
    const seeds = [seedFor(0, 'a'), seedFor(0, 'b'), seedFor(1, 'a'), seedFor(2, 'a')];
    expect(new Set(seeds).size).toBe(4);
    expect(seedFor(1, 'a')).toBe(seedFor(1, 'a'));
  });
});

describe('uniformGenerator()', () => {
  it('stays in [0, 1) around a half', () => {
    const random = uniformGenerator(0);
    const values = Float32Array.from({ length: 4000 }, random);
    expect(moments(values).mean).toBeCloseTo(0.5, 1);
    expect(values.every((v) => v >= 0 && v <= 1)).toBe(true);
  });
});
