import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random1d, random2d, valuesOf } from '../../test/selections.js';
import { rmsNormGradReference, rmsNormReference } from './rms-norm.reference.js';
import { rmsNormResidual } from './rms-norm-residual.js';

describe.each(PATHS)('rmsNormResidual() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 4],
    [1, 1],
    [7, 33],
    [3, 64],
  ])('gives the norm and its input, and adds up their gradients, for %i tokens of %i channels', (T, H) => {
    const [x, w] = [random2d(T, H, 1), random1d(H, 2)];
    const [dy, dresidual] = [random2d(T, H, 3), random2d(T, H, 4)];
    const [normed, residual] = rmsNormResidual(x, w, 1e-5);
    expectAllClose('normed', normed, rmsNormReference(valuesOf(x), valuesOf(w), 1e-5, T, H));
    expectAllClose('residual', residual, valuesOf(x));
    const dx = tf.grad((x) => {
      const [normed, residual] = rmsNormResidual(x as tf.Tensor2D, w, 1e-5);
      return tf.add(tf.sum(tf.mul(normed, dy)), tf.sum(tf.mul(residual, dresidual)));
    })(x);
    const ofNorm = rmsNormGradReference(valuesOf(x), valuesOf(w), valuesOf(dy), 1e-5, T, H);
    const expected = ofNorm.map((g, i) => g + valuesOf(dresidual)[i]!);
    expectAllClose('dx', dx, expected, TOLERANCE.gradient);
  });

  it('leaves two tensors, and none after its gradient', async () => {
    const [x, w] = [random2d(4, 3, 1), random1d(3, 2)];
    await expectNoLeak(() => rmsNormResidual(x, w, 1e-5), 2);
    await expectNoLeak(() =>
      tf
        .grad((x) => tf.addN(rmsNormResidual(x as tf.Tensor2D, w, 1e-5)))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    expect(() => rmsNormResidual(tf.zeros([2, 3]), tf.zeros([4]), 1e-5)).toThrow(
      'x [2,3] must be [T, H] with H the length of weight [4]',
    );
  });
});
