import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { clipScale, globalNorm } from './global-norm.js';
import { globalNormReference } from './global-norm.reference.js';

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);

describe.each(PATHS)('globalNorm() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([[[]], [[[1]]], [[[3, 4], [7]]], [[[0, 3], [2, 1, 3], []]]])(
    'equals its reference for shapes %j',
    (shapes) => {
      const tensors = (shapes as number[][]).map((shape, n) => random(shape, n));
      const expected = globalNormReference(tensors.map((t) => t.dataSync()));
      expectAllClose('norm', globalNorm(tensors), [expected]);
    },
  );

  it('leaves one tensor', async () => {
    const tensors = [random([3], 1), random([2, 2], 2)];
    await expectNoLeak(() => globalNorm(tensors), 1);
  });
});

describe.each(PATHS)('clipScale() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it('brings a larger norm down to the largest allowed and leaves a smaller one', () => {
    expectAllClose('scale', clipScale(tf.scalar(4), 1), [0.25]);
    expectAllClose('scale', clipScale(tf.scalar(0.5), 1), [1]);
    expectAllClose('scale', clipScale(tf.scalar(0), 1), [1]);
  });

  it('leaves one tensor', async () => {
    const norm = tf.scalar(2);
    await expectNoLeak(() => clipScale(norm, 1), 1);
  });

  it('refuses a norm that is not positive', () => {
    expect(() => clipScale(tf.scalar(1), 0)).toThrow('clipScale: maxNorm is 0; it must be positive');
  });
});
