import { ropeFrequencies } from '@spft/sparse-ops/internals';
import { describe, expect, it } from 'vitest';
import { ropeFactors, scalingOfFactors } from './rope-factors.js';

const LLAMA_31 = {
  ropeType: 'llama3' as const,
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalMaxPositionEmbeddings: 8192,
};

describe('ropeFactors()', () => {
  it('are what divides the plain frequencies', () => {
    const plain = ropeFrequencies({ headDim: 128, theta: 500_000, scaling: null });
    const scaled = ropeFrequencies({ headDim: 128, theta: 500_000, scaling: LLAMA_31 });
    const factors = ropeFactors(128, 500_000, LLAMA_31);
    expect([factors[0], factors.at(-1)]).toEqual([1, 8]);
    factors.forEach((factor, i) => {
      expect(plain[i]! / scaled[i]!).toBeCloseTo(factor, 4);
    });
  });
});

describe('scalingOfFactors()', () => {
  it("gives Llama 3.1's and 3.2's numbers back", () => {
    for (const factor of [8, 32]) {
      const scaling = { ...LLAMA_31, factor };
      expect(scalingOfFactors(ropeFactors(64, 500_000, scaling), 64, 500_000)).toEqual(scaling);
    }
  });

  it.each([
    ['other limits', 128, { ...LLAMA_31, lowFreqFactor: 2, highFreqFactor: 9, originalMaxPositionEmbeddings: 4096 }],
    ['one frequency between the ends', 32, { ...LLAMA_31, originalMaxPositionEmbeddings: 64 }],
    [
      'none between the ends',
      8,
      { ...LLAMA_31, lowFreqFactor: 1, highFreqFactor: 1.01, originalMaxPositionEmbeddings: 3000 },
    ],
  ])('finds numbers with the same factors: %s', (_, headDim, scaling) => {
    const factors = ropeFactors(headDim, 500_000, scaling);
    const found = scalingOfFactors(factors, headDim, 500_000)!;
    ropeFactors(headDim, 500_000, found).forEach((factor, i) => {
      expect(factor).toBeCloseTo(factors[i]!, 3);
    });
  });

  it('refuses others', () => {
    expect(scalingOfFactors([1, 3, 2, 8], 8, 10_000)).toBeNull();
    expect(scalingOfFactors([1, 1], 8, 10_000)).toBeNull();
    expect(scalingOfFactors([1, Number.NaN, 8, 8], 8, 10_000)).toBeNull();
  });
});
