import { describe, expect, it } from 'vitest';
import { packTokens } from './token-partition.js';

describe('packTokens()', () => {
  it('puts dense tokens first and keeps packed order inside each half', () => {
    const dense = new Set([1, 4, 5, 8]);
    const layout = packTokens({ lengths: [2, 4, 1, 2], dense: (t) => dense.has(t) });
    expect(layout.tokens).toBe(9);
    expect(layout.denseTokens).toBe(4);
    expect([...layout.sequenceStarts]).toEqual([0, 2, 6, 7, 9]);
    expect([...layout.tokenOfRow]).toEqual([1, 4, 5, 8, 0, 2, 3, 6, 7]);
    expect([...layout.rowOfToken]).toEqual([4, 0, 5, 6, 1, 2, 7, 8, 3]);
    expect([...layout.positionOfRow]).toEqual([1, 2, 3, 1, 0, 0, 1, 0, 0]);
  });

  it.each([
    ['nothing', false, 0],
    ['everything', true, 5],
  ])('leaves rows in packed order when %s is dense', (_, dense, denseTokens) => {
    const layout = packTokens({ lengths: [3, 2], dense: () => dense });
    expect(layout.denseTokens).toBe(denseTokens);
    expect([...layout.tokenOfRow]).toEqual([0, 1, 2, 3, 4]);
    expect([...layout.rowOfToken]).toEqual([0, 1, 2, 3, 4]);
    expect([...layout.positionOfRow]).toEqual([0, 1, 2, 0, 1]);
  });

  it('lays out a batch of one token, and of none', () => {
    expect(packTokens({ lengths: [1], dense: () => true })).toMatchObject({ tokens: 1, denseTokens: 1 });
    expect(packTokens({ lengths: [], dense: () => true })).toMatchObject({ tokens: 0, denseTokens: 0 });
  });

  it('asks about each token once, in packed order', () => {
    const asked: number[] = [];
    packTokens({ lengths: [2, 2], dense: (t) => asked.push(t) > 2 });
    expect(asked).toEqual([0, 1, 2, 3]);
  });

  it.each([0, -1, 1.5, Number.NaN])('refuses a sequence of length %s', (length) => {
    expect(() => packTokens({ lengths: [3, length], dense: () => true })).toThrow(
      `packTokens: sequence 1 has length ${length}; every sequence needs a positive whole number of tokens`,
    );
  });
});
