import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { isRecording, noGradient } from './tape.js';

describe('isRecording()', () => {
  beforeAll(() => useBackend('cpu'));

  it('is true inside a gradient and false outside and in noGradient', () => {
    const seen: boolean[] = [isRecording()];
    tf.grad((x) => {
      seen.push(isRecording());
      noGradient(() => seen.push(isRecording()));
      return tf.sum(x);
    })(tf.scalar(1));
    seen.push(isRecording());
    expect(seen).toEqual([false, true, false, false]);
  });
});

describe('noGradient()', () => {
  beforeAll(() => useBackend('cpu'));

  it('makes what it returns a constant of the gradient', () => {
    const dx = tf.grad((x) =>
      tf.mul(
        x,
        noGradient(() => tf.square(x)),
      ),
    )(tf.scalar(3));
    expectAllClose('dx', dx, [9]);
  });

  it('records again after an error', () => {
    const dx = tf.grad((x) => {
      expect(() =>
        noGradient(() => {
          throw new Error('inside');
        }),
      ).toThrow('inside');
      return tf.square(x);
    })(tf.scalar(3));
    expectAllClose('dx', dx, [6]);
  });
});
