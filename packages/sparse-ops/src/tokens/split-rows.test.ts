import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { joinRows, splitRows } from './split-rows.js';

describe.each(PATHS)('splitRows() and joinRows() on %s by their %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3, 0],
    [1, 1, 0],
    [1, 1, 1],
    [5, 3, 0],
    [5, 3, 2],
    [5, 3, 5],
    [4, 1, 3],
  ])('cut [%i, %i] at row %i and put it together again', (T, n, at) => {
    const x = random2d(T, n, 1);
    const [dense, sparse] = splitRows(x, at);
    expect([dense.shape, sparse.shape]).toEqual([
      [at, n],
      [T - at, n],
    ]);
    expectAllClose('dense', dense, valuesOf(x).slice(0, at * n));
    expectAllClose('sparse', sparse, valuesOf(x).slice(at * n));
    const joined = joinRows(dense, sparse);
    expect(joined.shape).toEqual([T, n]);
    expectAllClose('joined', joined, x);
  });

  it.each([[0], [2], [4]])('have the gradients of finite differences, cut at row %i of 4', (at) => {
    expectGradients(
      'splitRows',
      (x) => {
        const [dense, sparse] = splitRows(x as tf.Tensor2D, at);
        return tf.add(tf.sum(tf.mul(dense, 2)), tf.sum(tf.square(sparse)));
      },
      [random2d(4, 3, 1)],
    );
    const [dense, sparse] = [random2d(at, 3, 1), random2d(4 - at, 3, 2)];
    expectGradients('joinRows', (a, b) => joinRows(a as tf.Tensor2D, b as tf.Tensor2D), [dense, sparse]);
  });

  it('give zeros as gradient of a half that is not used', () => {
    const x = random2d(3, 2, 1);
    expectAllClose('first', tf.grad((t) => splitRows(t as tf.Tensor2D, 1)[0])(x), [1, 1, 0, 0, 0, 0]);
    expectAllClose('second', tf.grad((t) => splitRows(t as tf.Tensor2D, 1)[1])(x), [0, 0, 1, 1, 1, 1]);
  });

  it('leave two tensors and one, and none after their gradients', async () => {
    const x = random2d(4, 3, 1);
    await expectNoLeak(() => splitRows(x, 1), 2);
    await expectNoLeak(() => joinRows(x, x), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => joinRows(...splitRows(t as tf.Tensor2D, 1)))(x)
        .dispose(),
    );
  });

  it('say what they wanted when the row or the columns do not fit', () => {
    expect(() => splitRows(tf.zeros([2, 3]), 3)).toThrow('at is 3, must be a whole number from 0 to 2, the rows');
    expect(() => splitRows(tf.zeros([2, 3]), 0.5)).toThrow('at is 0.5');
    expect(() => joinRows(tf.zeros([2, 3]), tf.zeros([2, 4]))).toThrow(
      'joinRows: dense [2,3] and sparse [2,4] must have as many columns',
    );
  });
});
