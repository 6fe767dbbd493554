import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { NARROW, registerNarrowBackend } from '../../../../test/support/narrow-backend.js';
import { linearCrossEntropy } from '../loss/linear-cross-entropy.js';
import { linearCrossEntropyReference } from '../loss/linear-cross-entropy.reference.js';
import { globalNorm } from '../update/global-norm.js';
import { globalNormReference } from '../update/global-norm.reference.js';
import { addAll } from './add-all.js';

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const many = (count: number) => Array.from({ length: count }, (_, n) => random([2, 3], n));
const values = (t: tf.Tensor) => t.dataSync() as Float32Array;

// The lines before which WebGPU gave zeros, on a backend that takes no more tensors than WebGPU does.
describe('sums of many tensors on a backend that takes seven', () => {
  beforeAll(async () => {
    registerNarrowBackend();
    await tf.setBackend(NARROW);
  });

  it('fail there by addN', () => {
    expect(() => tf.addN(many(8))).toThrow('AddN got 8 tensors');
  });

  it.each([1, 2, 7, 8, 14, 49, 50, 344])('addAll() of %i', async (count) => {
    const tensors = many(count);
    const expected = new Float32Array(6);
    for (const t of tensors) for (const [n, x] of values(t).entries()) expected[n]! += x;
    expectAllClose('sum', addAll(tensors), expected);
    await expectNoLeak(() => addAll(tensors), 1);
  });

  it('addAll() has its gradient', () => {
    const tensors = many(20);
    const gradients = tf.grads((...xs) => tf.sum(tf.square(addAll(xs))))(tensors);
    const expected = values(tf.mul(2, addAll(tensors)));
    expect(gradients).toHaveLength(20);
    for (const gradient of gradients) expectAllClose('gradient', gradient, expected);
  });

  it('globalNorm() of 60 tensors', () => {
    const tensors = many(60);
    expectAllClose('norm', globalNorm(tensors), [globalNormReference(tensors.map(values))]);
  });

  it('linearCrossEntropy() in 30 chunks, with its gradient', () => {
    const [x, weight] = [random([30, 4], 1) as tf.Tensor2D, random([9, 4], 2) as tf.Tensor2D];
    const labels = tf.tensor1d(
      Array.from({ length: 30 }, (_, n) => n % 9),
      'int32',
    );
    const expected = linearCrossEntropyReference(values(x), values(weight), labels.dataSync(), 4, 9);
    const { value, grad } = tf.valueAndGrad((t) =>
      linearCrossEntropy(t as tf.Tensor2D, weight, labels, { chunkRows: 1 }),
    )(x);
    expectAllClose('loss', value, [expected.loss]);
    expectAllClose('dx', grad, expected.dx);
  });
});
