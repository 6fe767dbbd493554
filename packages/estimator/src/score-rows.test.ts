import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { scoreRows } from './score-rows.js';

describe.each(TEST_BACKENDS)('scoreRows() on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  // Sequences of 5 and 4 tokens; dense are the last two of the first and the last of the second, which come first in row order.
  const dense = [0, 0, 0, 1, 1, 0, 0, 0, 1];
  const layout = packTokens({ lengths: [5, 4], dense: (token) => dense[token] === 1 });
  /** Each row says which token it is. */
  const x = () => tf.tensor2d(Array.from(layout.tokenOfRow), [9, 1]);
  const tokens = (count: 'mean' | 'all' | number, contextOnly: boolean) =>
    Array.from(
      scoreRows(x(), layout, { tokens: count, contextOnly }).dataSync(),
      (value) => Math.round(value * 1000) / 1000,
    ).sort((a, b) => a - b);

  it('takes all, or the sparse ones', () => {
    expect(tokens('all', false)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
    expect(tokens('all', true)).toEqual([0, 1, 2, 5, 6, 7]);
  });

  it('takes so many of each sequence, evenly spaced, all of a shorter one', () => {
    expect(tokens(2, false)).toEqual([0, 2, 5, 7]);
    expect(tokens(2, true)).toEqual([0, 1, 5, 6]);
    expect(tokens(16, true)).toEqual([0, 1, 2, 5, 6, 7]);
  });

  it('takes the mean of each sequence, or of its sparse tokens', () => {
    expect(tokens('mean', false)).toEqual([2, 6.5]);
    expect(tokens('mean', true)).toEqual([1, 6]);
  });

  it('leaves no tensor behind', () =>
    expectNoLeak(() => tf.tidy(() => void [tokens('mean', true), tokens(2, true), tokens('all', true)])));
});
