import { describe, expect, it } from 'vitest';
import { sampleToken } from './sampling.js';

const LOGITS = Float32Array.from([0.5, 3, -1, 2, 2.5, 0]);

/** Share of each token over evenly spread draws. */
function shares(options: Parameters<typeof sampleToken>[1], logits = LOGITS): number[] {
  const draws = 20_000;
  const counts = new Array<number>(logits.length).fill(0);
  for (let n = 0; n < draws; n++) counts[sampleToken(logits, options, (n + 0.5) / draws)]! += 1 / draws;
  return counts;
}

/** softmax of the logits that `keep` lets through. */
function expected(temperature: number, keep: (token: number) => boolean): number[] {
  const weights = [...LOGITS].map((z, token) => (keep(token) ? Math.exp(z / temperature) : 0));
  const total = weights.reduce((a, b) => a + b);
  return weights.map((w) => w / total);
}

const expectShares = (actual: number[], wanted: number[]) =>
  wanted.forEach((share, token) => {
    expect(actual[token], `token ${token}`).toBeCloseTo(share, 3);
  });

describe('sampleToken()', () => {
  it('draws by the softmax of the logits', () => {
    expectShares(
      shares({}),
      expected(1, () => true),
    );
  });

  it('flattens or sharpens by the temperature', () => {
    expectShares(
      shares({ temperature: 2 }),
      expected(2, () => true),
    );
    expectShares(
      shares({ temperature: 0.5 }),
      expected(0.5, () => true),
    );
  });

  it('draws among the k likeliest, those as likely as the last included', () => {
    expectShares(
      shares({ topK: 3 }),
      expected(1, (token) => [1, 3, 4].includes(token)),
    );
    const tied = shares({ topK: 1 }, Float32Array.from([1, 2, 2, 0]));
    expectShares(tied, [0, 0.5, 0.5, 0]);
    expectShares(
      shares({ topK: 100 }),
      expected(1, () => true),
    );
  });

  it('draws among the fewest that hold the share topP', () => {
    // Shares 0.472, 0.286, 0.174, then less.
    expectShares(
      shares({ topP: 0.4 }),
      expected(1, (token) => token === 1),
    );
    expectShares(
      shares({ topP: 0.5 }),
      expected(1, (token) => token === 1 || token === 4),
    );
    expectShares(
      shares({ topP: 0.9 }),
      expected(1, (token) => [1, 3, 4].includes(token)),
    );
  });

  it('takes the nucleus of what topK left, after the temperature', () => {
    const wanted = expected(2, (token) => token === 1 || token === 4);
    expectShares(shares({ topK: 3, topP: 0.6, temperature: 2 }), wanted);
  });

  it('stays in range at the ends of the draw', () => {
    expect(sampleToken(LOGITS, {}, 0)).toBe(0);
    expect(sampleToken(LOGITS, {}, 1 - 1e-17)).toBe(5);
    expect(sampleToken(Float32Array.from([-Infinity, 0]), {}, 0)).toBe(1);
  });
});
