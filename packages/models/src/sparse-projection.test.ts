/** @file What the three gradients of a sparse product are. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { withGradient } from './sparse-projection.js';

describe.each(TEST_BACKENDS)('withGradient() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  const gradients = (gradient: 'exact' | 'cut' | 'straight_through') => {
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const weight = tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]);
    // The first output channel alone, the others zero.
    const mask = tf.tensor2d([1, 0, 0], [1, 3]);
    const product = (x: tf.Tensor2D) => tf.mul(tf.matMul(x, weight, false, true), mask) as tf.Tensor2D;
    const { value, grad } = tf.valueAndGrad((x) =>
      tf.sum(tf.add(tf.sum(x), tf.sum(withGradient(gradient, x as tf.Tensor2D, weight, product)))),
    )(x);
    return { value, grad };
  };

  it('is that of what was computed, none, or that of the whole product; the value is the same', async () => {
    for (const [gradient, expected] of [
      ['exact', [2, 3, 2, 3]],
      ['cut', [1, 1, 1, 1]],
      ['straight_through', [10, 13, 10, 13]],
    ] as const) {
      const { value, grad } = gradients(gradient);
      expectAllClose(gradient, grad, expected);
      expect(value.dataSync()[0]).toBe(10 + 5 + 11);
    }
    await expectNoLeak(() => tf.tidy(() => void gradients('straight_through')));
  });
});
