import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { batchedMatMul } from './batched-matmul.js';
import { batchedMatMulReference } from './batched-matmul.reference.js';

const random = (shape: [number, number, number], seed: number) =>
  tf.randomNormal(shape, 0, 1, 'float32', seed) as tf.Tensor3D;
const values = (t: tf.Tensor) => t.dataSync() as Float32Array;
const TRANSPOSITIONS = [
  [false, false],
  [true, false],
  [false, true],
  [true, true],
] as const;

describe.each(PATHS)('batchedMatMul() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  describe.each(TRANSPOSITIONS)('with a transposed: %s, b transposed: %s', (transposeA, transposeB) => {
    it.each([
      [0, 2, 3, 4],
      [1, 1, 1, 1],
      [3, 5, 7, 2],
    ])('equals its reference for %i products of %i by %i by %i', (n, m, k, p) => {
      const a = random(transposeA ? [n, k, m] : [n, m, k], 1);
      const b = random(transposeB ? [n, p, k] : [n, k, p], 2);
      const y = batchedMatMul(a, b, transposeA, transposeB);
      expect(y.shape).toEqual([n, m, p]);
      expectAllClose('y', y, batchedMatMulReference(values(a), values(b), [n, m, k, p], transposeA, transposeB));
    });

    it('has the gradients of finite differences', () => {
      const [a, b] = [random(transposeA ? [2, 3, 2] : [2, 2, 3], 3), random(transposeB ? [2, 2, 3] : [2, 3, 2], 4)];
      expectGradients(
        'batchedMatMul',
        (a, b) => batchedMatMul(a as tf.Tensor3D, b as tf.Tensor3D, transposeA, transposeB),
        [a, b],
      );
    });
  });

  it('leaves one tensor, and none after its gradients', async () => {
    const [a, b] = [random([2, 3, 4], 1), random([2, 4, 5], 2)];
    await expectNoLeak(() => batchedMatMul(a, b), 1);
    await expectNoLeak(() => tf.dispose(tf.grads((a, b) => batchedMatMul(a as tf.Tensor3D, b as tf.Tensor3D))([a, b])));
  });

  it('says what it wanted when the shapes do not fit', () => {
    expect(() => batchedMatMul(tf.zeros([2, 3, 4]), tf.zeros([2, 5, 4]))).toThrow(
      'batchedMatMul: a [2,3,4] and b [2,5,4] must be [n, m, k] and [n, k, p]',
    );
    expect(() => batchedMatMul(tf.zeros([2, 3, 4]), tf.zeros([3, 4, 5]))).toThrow('batchedMatMul: a [2,3,4]');
  });
});
