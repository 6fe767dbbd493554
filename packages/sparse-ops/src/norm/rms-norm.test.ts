import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { rmsNorm } from './rms-norm.js';
import { rmsNormGradReference, rmsNormReference } from './rms-norm.reference.js';

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const values = (t: tf.Tensor) => t.dataSync() as Float32Array;

describe.each(PATHS)('rmsNorm() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 4],
    [1, 1],
    [1, 5],
    [7, 33],
  ])('equals its reference, and its gradient too, for %i tokens of %i channels', (T, H) => {
    const [x, w, dy] = [random([T, H], 1) as tf.Tensor2D, random([H], 2) as tf.Tensor1D, random([T, H], 3)];
    expectAllClose('y', rmsNorm(x, w, 1e-5), rmsNormReference(values(x), values(w), 1e-5, T, H));
    const dx = tf.grad((t) => rmsNorm(t as tf.Tensor2D, w, 1e-5))(x, dy);
    const expected = rmsNormGradReference(values(x), values(w), values(dy), 1e-5, T, H);
    expectAllClose('dx', dx, expected, TOLERANCE.gradient);
  });

  it('adds eps to the mean square: a row of zeros stays zero', () => {
    expectAllClose('y', rmsNorm(tf.zeros([2, 3]), tf.ones([3]), 1e-6), [0, 0, 0, 0, 0, 0]);
    expectAllClose('y', rmsNorm(tf.ones([1, 2]), tf.ones([2]), 3), [0.5, 0.5]);
  });

  it('has the gradient of finite differences', () => {
    const w = random([5], 2) as tf.Tensor1D;
    expectGradients('rmsNorm', (x) => rmsNorm(x as tf.Tensor2D, w, 1e-5), [random([3, 5], 4)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, w] = [random([4, 3], 1) as tf.Tensor2D, random([3], 2) as tf.Tensor1D];
    await expectNoLeak(() => rmsNorm(x, w, 1e-5), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => rmsNorm(t as tf.Tensor2D, w, 1e-5))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    expect(() => rmsNorm(tf.zeros([2, 3]), tf.zeros([4]), 1e-5)).toThrow(
      'rmsNorm: x [2,3] must be [T, H] with H the length of weight [4]',
    );
  });
});
