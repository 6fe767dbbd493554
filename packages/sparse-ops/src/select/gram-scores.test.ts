import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { columnNorms } from './column-norms.js';
import { gramScores } from './gram-scores.js';
import { gramScoresReference } from './gram-scores.reference.js';

describe.each(PATHS)('gramScores() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3, 2, 4],
    [1, 1, 1, 1],
    [5, 7, 2, 3],
    [1, 6, 4, 9],
    [33, 17, 8, 21],
  ])('equals its reference for %i tokens, %i inputs, rank %i, %i channels', (T, In, r, n) => {
    const [x, a, b] = [random2d(T, In, 1), random2d(In, r, 2), random2d(r, n, 3)];
    const scores = gramScores(x, a, b);
    expect(scores.shape).toEqual([n]);
    expectAllClose('scores', scores, gramScoresReference(valuesOf(x), valuesOf(a), valuesOf(b), { T, In, r, n }));
  });

  it('has the gradient of finite differences, and of the product that it avoids', () => {
    const [x, a, b] = [random2d(3, 4, 1), random2d(4, 2, 2), random2d(2, 5, 3)];
    expectGradients('gramScores', (x) => gramScores(x as tf.Tensor2D, a, b), [x]);
    const dx = tf.grad((x) => gramScores(x as tf.Tensor2D, a, b))(x);
    const slow = tf.grad((x) => columnNorms(tf.matMul(tf.matMul(x as tf.Tensor2D, a), b)))(x);
    expectAllClose('dx', dx, slow, TOLERANCE.gradient);
  });

  it('is zero, with gradient zero, where every token is', () => {
    const [x, a, b] = [tf.zeros([3, 4]) as tf.Tensor2D, random2d(4, 2, 2), random2d(2, 5, 3)];
    expectAllClose('scores', gramScores(x, a, b), tf.zeros([5]));
    expectAllClose('dx', tf.grad((x) => gramScores(x as tf.Tensor2D, a, b))(x), tf.zeros([3, 4]));
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, a, b] = [random2d(3, 4, 1), random2d(4, 2, 2), random2d(2, 5, 3)];
    await expectNoLeak(() => gramScores(x, a, b), 1);
    await expectNoLeak(() =>
      tf
        .grad((x) => gramScores(x as tf.Tensor2D, a, b))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    expect(() => gramScores(tf.zeros([2, 3]), tf.zeros([4, 2]), tf.zeros([2, 5]))).toThrow(
      'gramScores: x [2,3], a [4,2] and b [2,5] must be [T, in], [in, r] and [r, n]',
    );
  });
});
