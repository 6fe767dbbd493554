import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { columnNorms } from './column-norms.js';
import { columnNormsReference } from './column-norms.reference.js';

describe.each(PATHS)('columnNorms() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3],
    [1, 1],
    [1, 5],
    [6, 1],
    [19, 13],
  ])('equals its reference for [%i, %i]', (T, n) => {
    const x = random2d(T, n, 1);
    const norms = columnNorms(x);
    expect(norms.shape).toEqual([n]);
    expectAllClose('norms', norms, columnNormsReference(valuesOf(x), T, n));
    expect(tf.grad((t) => columnNorms(t as tf.Tensor2D))(x).shape).toEqual([T, n]);
  });

  it('has the gradient of finite differences, and zero where a norm is zero', () => {
    expectGradients('columnNorms', (x) => columnNorms(x as tf.Tensor2D), [random2d(3, 4, 1)]);
    const x = tf.tensor2d([
      [3, 0],
      [4, 0],
    ]);
    expectAllClose('dx', tf.grad((t) => columnNorms(t as tf.Tensor2D))(x), [0.6, 0, 0.8, 0]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const x = random2d(4, 3, 1);
    await expectNoLeak(() => columnNorms(x), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => columnNorms(t as tf.Tensor2D))(x)
        .dispose(),
    );
  });

  it('says what it wanted when x is no matrix', () => {
    expect(() => columnNorms(tf.zeros([3]) as never)).toThrow('columnNorms: x [3] must have two dimensions');
  });
});
