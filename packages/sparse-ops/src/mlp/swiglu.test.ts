import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { swiglu } from './swiglu.js';
import { swigluGradReference, swigluReference } from './swiglu.reference.js';

const random = (shape: [number, number], seed: number) => tf.randomNormal(shape, 0, 2, 'float32', seed) as tf.Tensor2D;
const values = (t: tf.Tensor) => t.dataSync() as Float32Array;
const of = (gate: tf.Tensor, up: tf.Tensor) => swiglu(gate as tf.Tensor2D, up as tf.Tensor2D);

describe.each(PATHS)('swiglu() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3],
    [1, 1],
    [5, 13],
  ])('equals its reference, and its gradients too, for %i tokens of %i channels', (T, I) => {
    const [gate, up, dy] = [random([T, I], 1), random([T, I], 2), random([T, I], 3)];
    expectAllClose('y', swiglu(gate, up), swigluReference(values(gate), values(up)));
    const [dGate, dUp] = tf.grads(of)([gate, up], dy);
    const expected = swigluGradReference(values(gate), values(up), values(dy));
    expectAllClose('dGate', dGate!, expected.dGate, TOLERANCE.gradient);
    expectAllClose('dUp', dUp!, expected.dUp, TOLERANCE.gradient);
  });

  it('stays finite where the exponential does not', () => {
    expectAllClose('y', swiglu(tf.tensor2d([[-200, 200]]), tf.ones([1, 2])), [0, 200]);
  });

  it('has the gradients of finite differences', () => {
    expectGradients('swiglu', of, [random([3, 4], 5), random([3, 4], 6)]);
  });

  it('leaves one tensor, and none after its gradients', async () => {
    const [gate, up] = [random([4, 3], 1), random([4, 3], 2)];
    await expectNoLeak(() => swiglu(gate, up), 1);
    await expectNoLeak(() => tf.dispose(tf.grads(of)([gate, up])));
  });

  it('says what it wanted when the shapes differ', () => {
    expect(() => swiglu(tf.zeros([2, 3]), tf.zeros([2, 4]))).toThrow(
      'swiglu: gate [2,3] and up [2,4] must both be [T, I]',
    );
  });
});
