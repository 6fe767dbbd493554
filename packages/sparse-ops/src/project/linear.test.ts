import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { linear } from './linear.js';
import { linearReference } from './linear.reference.js';

describe.each(TEST_BACKENDS)('linear() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    [1, 1, 1],
    [5, 7, 3],
    [33, 16, 48],
  ])('equals its reference for %i tokens, %i inputs, %i outputs', (T, In, Out) => {
    const [x, w, b] = [tf.randomNormal([T, In]), tf.randomNormal([Out, In]), tf.randomNormal([Out])];
    const expected = linearReference(
      x.dataSync() as Float32Array,
      w.dataSync() as Float32Array,
      b.dataSync() as Float32Array,
      T,
      In,
      Out,
    );
    expectAllClose('y', linear(x as tf.Tensor2D, w as tf.Tensor2D, b as tf.Tensor1D), expected);
  });

  it('has the gradient of finite differences in x', () => {
    const w = tf.randomNormal([4, 3]) as tf.Tensor2D;
    expectGradients('linear', (x) => linear(x as tf.Tensor2D, w), [tf.randomNormal([2, 3])]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, w] = [tf.randomNormal([4, 3]) as tf.Tensor2D, tf.randomNormal([5, 3]) as tf.Tensor2D];
    await expectNoLeak(() => linear(x, w), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => linear(t as tf.Tensor2D, w).sum())(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    expect(() => linear(tf.zeros([2, 3]), tf.zeros([5, 4]))).toThrow(
      'linear: x [2,3] must have as many columns as weight [5,4]',
    );
  });
});
