import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random, valuesOf } from '../../test/selections.js';
import { dropout } from './dropout.js';
import { dropoutReference } from './dropout.reference.js';

describe.each(PATHS)('dropout() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [[0, 3], 0.5, 1],
    [[1], 0.9, 2],
    [[7, 5], 0.05, -3],
    [[2, 3, 4], 0.3, 2 ** 32 - 1],
  ])('equals its reference for %j at rate %d with seed %i', (shape, rate, seed) => {
    const x = random(shape, 1);
    const y = dropout(x, rate, seed);
    expect(y.shape).toEqual(shape);
    expectAllClose('y', y, dropoutReference(valuesOf(x), rate, seed));
  });

  it('drops about the rate, and keeps the mean', () => {
    const y = valuesOf(dropout(tf.ones([20_000]), 0.2, 7));
    const dropped = y.filter((v) => v === 0).length / y.length;
    expect(Math.abs(dropped - 0.2)).toBeLessThan(0.01);
    expect(Math.abs(y.reduce((a, b) => a + b) / y.length - 1)).toBeLessThan(0.015);
  });

  it('has masks of different seeds that agree no more often than chance', () => {
    const [a, b] = [valuesOf(dropout(tf.ones([20_000]), 0.5, 1)), valuesOf(dropout(tf.ones([20_000]), 0.5, 2))];
    const agreeing = a.filter((v, i) => v === b[i]).length / a.length;
    expect(Math.abs(agreeing - 0.5)).toBeLessThan(0.02);
  });

  it('at rate 0 is its argument', () => {
    const x = random([3, 2], 1);
    expectAllClose('y', dropout(x, 0, 5), x);
    expectAllClose('dx', tf.grad((t) => dropout(t, 0, 5))(x), tf.onesLike(x));
  });

  it('has the gradient of finite differences', () => {
    expectGradients('dropout', (x) => dropout(x, 0.4, 11), [random([4, 3], 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const x = random([4, 3], 1);
    await expectNoLeak(() => dropout(x, 0.4, 11), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => dropout(t, 0.4, 11))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the rate or the seed is out of range', () => {
    expect(() => dropout(tf.ones([2]), 1, 1)).toThrow('dropout: rate is 1, must be at least 0 and below 1');
    expect(() => dropout(tf.ones([2]), 0.5, 0.5)).toThrow('dropout: seed is 0.5, must be a whole number');
  });
});
