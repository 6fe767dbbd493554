import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { gatedScores } from './gated-scores.js';
import { gatedScoresReference } from './gated-scores.reference.js';

describe.each(PATHS)('gatedScores() on %s by its %s', (backend, by) => {
  usePath(backend, by);
  const pair = (In: number, r: number, n: number, seed: number) => ({
    a: random2d(In, r, seed),
    b: random2d(r, n, seed + 1),
  });

  it.each([
    [0, 3, 2, 2, 4],
    [1, 1, 1, 1, 1],
    [3, 7, 8, 8, 5],
    [2, 33, 11, 11, 19],
    [4, 5, 2, 3, 6],
    [131, 5, 8, 8, 1043],
  ])('equals its reference for %i rows, %i inputs, ranks %i and %i, %i channels', (B, In, r, s, n) => {
    const [x, gate, up] = [random2d(B, In, 1), pair(In, r, n, 2), pair(In, s, n, 4)];
    const plain = ({ a, b }: typeof gate) => ({ a: valuesOf(a), b: valuesOf(b), r: a.shape[1] });
    const scores = gatedScores(x, gate, up);
    expect(scores.shape).toEqual([n]);
    expectAllClose('scores', scores, gatedScoresReference(valuesOf(x), plain(gate), plain(up), { B, In, n }));
  });

  it('leaves one tensor, also while a gradient is recorded', async () => {
    const [x, gate, up] = [random2d(2, 4, 1), pair(4, 2, 5, 2), pair(4, 2, 5, 4)];
    await expectNoLeak(() => gatedScores(x, gate, up), 1);
    const ones = tf.ones([5]);
    await expectNoLeak(() =>
      tf
        .grad((t) => tf.mul(t, gatedScores(x, gate, up)))(ones)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    expect(() => gatedScores(random2d(2, 3, 1), pair(4, 2, 5, 2), pair(3, 2, 5, 4))).toThrow(
      'gatedScores: x [2,3], gate [4,2] and [2,5], up [3,2] and [2,5] must be [B, in], [in, r] and [r, n]',
    );
    expect(() => gatedScores(random2d(2, 3, 1), pair(3, 2, 5, 2), pair(3, 2, 6, 4))).toThrow('gatedScores');
  });
});
