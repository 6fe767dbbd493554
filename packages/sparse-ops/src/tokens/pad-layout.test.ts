/** @file Layouts with padding: real tokens keep their order and neighbours, and everything is a permutation. */
import { describe, expect, it } from 'vitest';
import { fitsShape, padLayout } from './pad-layout.js';
import { packTokens } from './token-partition.js';

const layout = packTokens({ lengths: [3, 5, 2], dense: (token) => token % 3 === 1 });
const shape = { denseRows: 6, sparseRows: 11, sequences: 6, longest: 5 };

describe('padLayout()', () => {
  it('keeps real tokens where they are among each other, and gives padding sequences of its own', () => {
    const padded = padLayout(layout, shape);
    expect(padded).toMatchObject({ tokens: 17, denseTokens: 6, longest: 5 });
    expect([...padded.sequenceStarts]).toEqual([0, 3, 8, 10, 15, 17, 17]);
    for (let token = 0; token < layout.tokens; token++) {
      const [before, after] = [layout.rowOfToken[token]!, padded.rowOfToken[token]!];
      expect(after).toBe(before < layout.denseTokens ? before : before + 6 - layout.denseTokens);
      expect(padded.positionOfRow[after]).toBe(layout.positionOfRow[before]);
    }
    expect([...padded.rowOfToken].sort((a, b) => a - b)).toEqual([...Array(17).keys()]);
    padded.rowOfToken.forEach((row, token) => {
      expect(padded.tokenOfRow[row]).toBe(token);
    });
    expect(Math.max(...padded.positionOfRow)).toBe(4);
  });

  it('is the layout itself where the shape is its own', () => {
    const own = { denseRows: 3, sparseRows: 7, sequences: 3, longest: 5 };
    expect(padLayout(layout, own)).toEqual({ ...layout, longest: 5 });
  });

  it('refuses what does not fit', () => {
    for (const wrong of [{ denseRows: 2 }, { sparseRows: 6 }, { longest: 4 }, { sequences: 4 }]) {
      expect(fitsShape(layout, { ...shape, ...wrong })).toBe(false);
      expect(() => padLayout(layout, { ...shape, ...wrong })).toThrow(
        /3 dense and 7 sparse tokens in 3 sequences of up to 5 do not fit/,
      );
    }
  });
});
