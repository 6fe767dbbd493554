/** @file The choice beside one by sorting; what the op promises of it is the conformance suite's. */
import { describe, expect, it } from 'vitest';
import { chooseHighest } from './top-k-selection.js';

/** Of equal scores the first. */
function bySorting(scores: Float32Array, kept: number): number[] {
  const order = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.slice(0, kept).sort((a, b) => a - b);
}

function chosen(scores: Float32Array, kept: number): number[] {
  const indices = new Int32Array(kept).fill(-1);
  chooseHighest(scores, indices);
  return [...indices];
}

const ORDERS: readonly [string, (n: number, count: number) => number][] = [
  ['in disorder', (n) => Math.sin(7 * n * n + n)],
  ['ascending', (n) => n],
  ['descending', (n) => -n],
  ['up and down', (n, count) => Math.min(n, count - n)],
  ['all equal', () => 0.5],
  ['of few values', (n) => (n * n) % 5],
  ['of either sign and zeros', (n) => (n % 3) - 1],
  ['with infinities', (n) => (n % 7 === 0 ? (n % 2 === 0 ? Infinity : -Infinity) : n % 11)],
];

describe('chooseHighest()', () => {
  it.each(ORDERS)('chooses of scores %s what sorting chooses, and leaves them as they are', (_, of) => {
    for (const count of [1, 2, 3, 10, 257]) {
      const scores = Float32Array.from({ length: count }, (_, n) => of(n, count));
      const before = scores.slice();
      for (const kept of [1, Math.ceil(count / 10), Math.ceil(count / 2), count]) {
        expect(chosen(scores, kept), `${kept} of ${count}`).toEqual(bySorting(scores, kept));
      }
      expect(scores).toEqual(before);
    }
  });

  it('takes what is no number last, and as many as are wanted all the same', () => {
    const scores = Float32Array.of(Number.NaN, -1, Number.NaN, 3, -Infinity, 2);
    expect(chosen(scores, 1)).toEqual([3]);
    expect(chosen(scores, 3)).toEqual([1, 3, 5]);
    expect(chosen(scores, 4)).toEqual([0, 1, 3, 5]);
    expect(chosen(scores, 6)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(chosen(new Float32Array(4).fill(Number.NaN), 2)).toEqual([0, 1]);
  });
});
