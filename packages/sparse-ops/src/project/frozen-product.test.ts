import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d } from '../../test/selections.js';
import { prefersPlainProducts } from '../engine/matmul.js';
import { keepTransposed, releaseTransposed } from './frozen-product.js';
import { linear } from './linear.js';

describe.each(PATHS)('keepTransposed() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it('changes no value and no gradient of linear()', () => {
    for (const [T, In, Out] of [
      [0, 3, 2],
      [1, 1, 1],
      [5, 7, 3],
    ] as const) {
      const [x, w] = [random2d(T, In, 1), random2d(Out, In, 2)];
      const before = tf.valueAndGrad((t) => tf.sum(tf.square(linear(t as tf.Tensor2D, w))))(x);
      keepTransposed(w);
      for (let time = 0; time < 2; time++) {
        const { value, grad } = tf.valueAndGrad((t) => tf.sum(tf.square(linear(t as tf.Tensor2D, w))))(x);
        expectAllClose('value', value, before.value);
        expectAllClose('gradient', grad, before.grad);
      }
      releaseTransposed(w);
    }
  });

  it('keeps one tensor at most, through a tidy, until it is released', async () => {
    const [x, w] = [random2d(4, 3, 1), random2d(5, 3, 2)];
    keepTransposed(w);
    keepTransposed(w);
    const before = tf.memory().numTensors;
    tf.tidy(() => {
      linear(x, w);
    });
    expect(tf.memory().numTensors - before).toBe(prefersPlainProducts() ? 1 : 0);
    await expectNoLeak(() => linear(x, w), 1);
    releaseTransposed(w);
    releaseTransposed(w);
    expect(tf.memory().numTensors - before).toBe(2);
    await expectNoLeak(() => linear(x, w), 1);
  });

  it('is right within another op, where tests of tfjs let nothing be kept', () => {
    const [x, w] = [random2d(4, 3, 1), random2d(5, 3, 2)];
    const expected = linear(x, w);
    keepTransposed(w);
    const before = tf.memory().numTensors;
    const within = tf.customGrad((t) => ({
      value: linear(t as tf.Tensor2D, w),
      gradFunc: () => tf.zerosLike(t as tf.Tensor),
    }));
    expectAllClose('y', within(x), expected);
    expect(tf.memory().numTensors - before).toBe(1);
    releaseTransposed(w);
  });
});
