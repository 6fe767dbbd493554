import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { type LinearCrossEntropyOptions, linearCrossEntropy } from './linear-cross-entropy.js';
import { linearCrossEntropyReference } from './linear-cross-entropy.reference.js';

const random = (shape: [number, number], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed) as tf.Tensor2D;
const values = (t: tf.Tensor) => t.dataSync() as Float32Array;
const setUp = (R: number, H: number, V: number) => ({
  x: random([R, H], 1),
  weight: random([V, H], 2),
  labels: tf.tensor1d(
    Array.from({ length: R }, (_, r) => (7 * r + 3) % V),
    'int32',
  ),
});

describe.each(PATHS)('linearCrossEntropy() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 4, 5, undefined],
    [1, 1, 2, undefined],
    [7, 5, 11, undefined],
    [7, 5, 11, 3],
    [6, 4, 9, 3],
    [5, 3, 6, 1],
  ])('equals its reference for %i rows of %i channels, %i tokens, chunks of %s', (R, H, V, chunkRows) => {
    const { x, weight, labels } = setUp(R, H, V);
    const expected = linearCrossEntropyReference(values(x), values(weight), labels.dataSync(), H, V);
    expectAllClose('loss', linearCrossEntropy(x, weight, labels, { chunkRows }), [expected.loss]);
    const { value, grad } = tf.valueAndGrad((t) =>
      tf.mul(linearCrossEntropy(t as tf.Tensor2D, weight, labels, { chunkRows }), 0.5),
    )(x);
    expectAllClose('loss on the tape', value, [expected.loss / 2]);
    expectAllClose(
      'dx',
      grad,
      expected.dx.map((g) => g / 2),
      TOLERANCE.gradient,
    );
  });

  it('has the gradient of finite differences', () => {
    const { x, weight, labels } = setUp(3, 2, 5);
    expectGradients('loss', (t) => linearCrossEntropy(t as tf.Tensor2D, weight, labels, { chunkRows: 2 }), [x]);
  });

  it('stays exact where the probability of the label underflows', () => {
    const [x, weight] = [tf.tensor2d([[100]]), tf.tensor2d([[3], [1], [-2]])];
    expectAllClose('loss', linearCrossEntropy(x, weight, tf.tensor1d([2], 'int32')), [500]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const { x, weight, labels } = setUp(5, 3, 6);
    const loss = (t: tf.Tensor, options?: LinearCrossEntropyOptions) =>
      linearCrossEntropy(t as tf.Tensor2D, weight, labels, options);
    await expectNoLeak(() => loss(x), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => loss(t, { chunkRows: 2 }))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the arguments do not fit', () => {
    const { x, weight, labels } = setUp(5, 3, 6);
    expect(() => linearCrossEntropy(tf.zeros([5, 2]), weight, labels)).toThrow(
      'linearCrossEntropy: x [5,2] must be [R, H], weight [6,3] [V, H] and labels [5] [R]',
    );
    expect(() => linearCrossEntropy(x, weight, tf.zeros([5]))).toThrow('labels are float32, must be int32');
    expect(() => linearCrossEntropy(x, weight, labels, { chunkRows: 0 })).toThrow('chunkRows is 0');
  });
});
