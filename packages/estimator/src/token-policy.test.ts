import { describe, expect, it } from 'vitest';
import { denseTokens, type TokenPolicy } from './token-policy.js';

const NONE: TokenPolicy = {
  skipOutputTokens: false,
  skipSinkTokens: 0,
  skipRandomTokens: false,
  sparseOutputTokens: 0,
  compat: 'corrected',
};
const X = -100;
// Two sequences of 4 and 6 tokens.
const LENGTHS = [4, 6];
const LABELS = [X, X, 7, 7, X, X, X, 7, 7, X];
const dense = (policy: Partial<TokenPolicy>, seed = 0) => [
  ...denseTokens(LABELS, LENGTHS, { ...NONE, ...policy }, seed),
];
const count = (flags: number[]) => flags.reduce((a, b) => a + b, 0);

describe('denseTokens()', () => {
  it('makes every token sparse without a policy', () => {
    expect(count(dense({}))).toBe(0);
    expect(count(dense({ compat: 'reference' }))).toBe(0);
  });

  it('skips output tokens one by one', () => {
    expect(dense({ skipOutputTokens: true })).toEqual([0, 0, 1, 1, 0, 0, 0, 1, 1, 0]);
  });

  it('skips the first tokens of each sequence, all of a shorter one', () => {
    expect(dense({ skipSinkTokens: 2 })).toEqual([1, 1, 0, 0, 1, 1, 0, 0, 0, 0]);
    expect(dense({ skipSinkTokens: 5 })).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
  });

  it('skips the tail of each prompt, from the row that predicts the first output on', () => {
    expect(dense({ skipOutputTokens: true, skipTailTokens: 1 })).toEqual([0, 1, 1, 1, 0, 0, 1, 1, 1, 0]);
    expect(dense({ skipTailTokens: 2 })).toEqual([1, 1, 0, 0, 0, 1, 1, 0, 0, 0]);
    expect(dense({ skipOutputTokens: true, skipTailTokens: 99 })).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
  });

  it('skips the tail before each labelled span of a conversation', () => {
    const labels = [X, X, X, 7, 7, X, X, X, 7];
    const flags = [...denseTokens(labels, [9], { ...NONE, skipOutputTokens: true, skipTailTokens: 2 })];
    expect(flags).toEqual([0, 1, 1, 1, 1, 0, 1, 1, 1]);
  });

  it('in reference begins the rectangle so many columns earlier', () => {
    expect(dense({ skipOutputTokens: true, skipTailTokens: 1, compat: 'reference' })).toEqual([
      1, 1, 1, 1, 0, 0, 1, 1, 1, 1,
    ]);
  });

  it('skips as many random tokens as a sequence has outputs, the same for the same seed', () => {
    const flags = dense({ skipRandomTokens: true }, 3);
    expect([count(flags.slice(0, 4)), count(flags.slice(4))]).toEqual([2, 2]);
    expect(dense({ skipRandomTokens: true }, 3)).toEqual(flags);
    const others = Array.from({ length: 20 }, (_, seed) => dense({ skipRandomTokens: true }, seed).join());
    expect(new Set(others).size).toBeGreaterThan(5);
  });

  it('skips one random token of a sequence without outputs', () => {
    expect(count([...denseTokens([X, X, X], [3], { ...NONE, skipRandomTokens: true })])).toBe(1);
  });

  it('makes a fraction of the output tokens sparse again', () => {
    const flags = dense({ skipOutputTokens: true, sparseOutputTokens: 0.5 }, 1);
    expect(count(flags)).toBe(2);
    flags.forEach((flag, t) => {
      if (flag === 1) expect(LABELS[t]).not.toBe(X);
    });
    expect(count(dense({ skipOutputTokens: true, sparseOutputTokens: 0.01 }))).toBe(3);
    expect(count(dense({ skipOutputTokens: true, sparseOutputTokens: 1 }))).toBe(0);
  });

  it('joins policies', () => {
    expect(dense({ skipOutputTokens: true, skipSinkTokens: 1 })).toEqual([1, 0, 1, 1, 1, 0, 0, 1, 1, 0]);
  });

  it('in reference takes one rectangle of the padded batch, as upstream does', () => {
    // Left-padded columns: ..XX77 and XXX77X, so columns 3 to 5 are dense.
    expect(dense({ skipOutputTokens: true, compat: 'reference' })).toEqual([0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
    // Right-padded: XX77.. and XXX77X, so columns 2 to 4.
    expect(dense({ skipOutputTokens: true, compat: 'reference', paddingSide: 'right' })).toEqual([
      0, 0, 1, 1, 0, 0, 1, 1, 1, 0,
    ]);
  });

  it('in reference counts sink tokens from the padding and lets them win over outputs', () => {
    expect(dense({ skipSinkTokens: 3, skipOutputTokens: true, compat: 'reference' })).toEqual([
      1, 0, 0, 0, 1, 1, 1, 0, 0, 0,
    ]);
  });

  it('in reference makes the same columns sparse again in each sequence', () => {
    const labels = [X, 7, 7, 7, X, 7, 7, 7];
    const policy = { ...NONE, skipOutputTokens: true, sparseOutputTokens: 0.4, compat: 'reference' } as const;
    const flags = [...denseTokens(labels, [4, 4], policy, 5)];
    expect(flags.slice(0, 4)).toEqual(flags.slice(4));
    expect(count(flags)).toBe(4);
  });

  it('in reference draws as many random tokens a sequence as the one with most outputs has', () => {
    const policy = { ...NONE, skipRandomTokens: true, compat: 'reference' } as const;
    const flags = [...denseTokens([X, X, X, 7, X, 7, 7, 7], [4, 4], policy, 2)];
    expect([count(flags.slice(0, 4)), count(flags.slice(4))]).toEqual([3, 3]);
  });

  it('says what does not fit', () => {
    expect(() => denseTokens([X], [2], NONE)).toThrow('lengths sum to 2, but there are 1 labels');
    expect(() => denseTokens([X], [1], { ...NONE, skipSinkTokens: 1.5 })).toThrow(
      'skipSinkTokens must be a whole number',
    );
    expect(() => denseTokens([X], [1], { ...NONE, skipTailTokens: -1 })).toThrow(
      'skipTailTokens must be a whole number',
    );
    expect(() => denseTokens([X], [1], { ...NONE, sparseOutputTokens: 2 })).toThrow(
      'sparseOutputTokens must lie in [0, 1]',
    );
  });
});
