import * as tf from '@tensorflow/tfjs';
import { describe, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { stopGradient } from './stop-gradient.js';

describe.each(PATHS)('stopGradient() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it('is its argument in value, and constant in a gradient', () => {
    const x = tf.tensor1d([2, -3]);
    expectAllClose('y', stopGradient(x), [2, -3]);
    expectAllClose('dx', tf.grad((t) => tf.mul(stopGradient(t), t))(x), [2, -3]);
  });

  it('leaves one tensor, and none after a gradient', async () => {
    const x = tf.tensor1d([2, -3]);
    await expectNoLeak(() => stopGradient(x), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => tf.mul(stopGradient(t), t))(x)
        .dispose(),
    );
  });
});
