import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random1d, valuesOf } from '../../test/selections.js';
import { topKSelection } from './top-k-selection.js';
import { topKReference } from './top-k-selection.reference.js';

describe.each(PATHS)('topKSelection() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [1, 1],
    [5, 5],
    [7, 1],
    [40, 17],
    [300, 299],
  ])('of %i scores keeps the %i that its reference keeps', (n, kept) => {
    const scores = random1d(n, n);
    const selection = topKSelection(scores, kept);
    expect([selection.kept, selection.total, selection.indices.dtype]).toEqual([kept, n, 'int32']);
    expect([...indicesOf(selection)]).toEqual(topKReference(valuesOf(scores), kept));
  });

  it('keeps the lower index of equal scores', () => {
    expect([...indicesOf(topKSelection(tf.tensor1d([1, 2, 1, 2, 1]), 3))]).toEqual([0, 1, 3]);
    expect([...indicesOf(topKSelection(tf.zeros([9]), 4))]).toEqual([0, 1, 2, 3]);
    expect([...indicesOf(topKSelection(tf.tensor1d([0, Infinity, -Infinity, Infinity]), 3))]).toEqual([0, 1, 3]);
  });

  it('leaves one tensor, also while a gradient is recorded', async () => {
    const scores = random1d(5, 1);
    await expectNoLeak(() => topKSelection(scores, 2), 1);
    await expectNoLeak(() =>
      tf
        .grad((x) => tf.mul(x, tf.cast(topKSelection(x as tf.Tensor1D, 5).indices, 'float32')))(scores)
        .dispose(),
    );
  });

  it('says what it wanted when kept is out of range', () => {
    for (const kept of [0, 6, 1.5, Number.NaN]) {
      expect(() => topKSelection(tf.zeros([5]), kept)).toThrow(
        `topKSelection: kept is ${kept}, must be a whole number from 1 to 5, the scores`,
      );
    }
  });
});
