import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { logitsCrossEntropy } from './logits-cross-entropy.js';
import { logitsCrossEntropyReference } from './logits-cross-entropy.reference.js';

const setUp = (R: number, V: number) => ({
  logits: tf.mul(tf.randomNormal([R, V], 0, 1, 'float32', 1), 3) as tf.Tensor2D,
  labels: tf.tensor1d(
    Array.from({ length: R }, (_, r) => (7 * r + 3) % V),
    'int32',
  ),
});

describe.each(PATHS)('logitsCrossEntropy() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 5, 0],
    [1, 2, 0],
    [7, 11, 0],
    [7, 11, 0.1],
  ])('equals its reference for %i rows of %i tokens, smoothed by %d', (R, V, labelSmoothing) => {
    const { logits, labels } = setUp(R, V);
    const expected = logitsCrossEntropyReference(
      logits.dataSync() as Float32Array,
      labels.dataSync(),
      V,
      labelSmoothing,
    );
    expectAllClose('loss', logitsCrossEntropy(logits, labels, { labelSmoothing }), [expected.loss]);
    const { value, grad } = tf.valueAndGrad((z) =>
      tf.mul(logitsCrossEntropy(z as tf.Tensor2D, labels, { labelSmoothing }), 0.5),
    )(logits);
    expectAllClose('loss on the tape', value, [expected.loss / 2]);
    expectAllClose(
      'dz',
      grad,
      expected.dz.map((g) => g / 2),
      TOLERANCE.gradient,
    );
  });

  it('has the gradient of finite differences', () => {
    const { logits, labels } = setUp(3, 5);
    expectGradients('loss', (z) => logitsCrossEntropy(z as tf.Tensor2D, labels, { labelSmoothing: 0.2 }), [logits]);
  });

  it('is finite for logits as large as they come', () => {
    const logits = tf.tensor2d([[300, -300, 0]]);
    expectAllClose('loss', logitsCrossEntropy(logits, tf.tensor1d([1], 'int32')), [600]);
  });

  it('leaves nothing behind, on the tape or off it', async () => {
    const { logits, labels } = setUp(4, 6);
    await expectNoLeak(() => logitsCrossEntropy(logits, labels).dispose());
    await expectNoLeak(() => tf.dispose(tf.valueAndGrad((z) => logitsCrossEntropy(z as tf.Tensor2D, labels))(logits)));
  });

  it('refuses shapes and dtypes that do not fit', () => {
    const { logits, labels } = setUp(4, 6);
    expect(() => logitsCrossEntropy(logits, tf.tensor1d([1], 'int32'))).toThrow('labels [1]');
    expect(() => logitsCrossEntropy(logits, tf.cast(labels, 'float32') as tf.Tensor1D)).toThrow('must be int32');
  });
});
