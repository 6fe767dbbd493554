import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random1d, random2d, valuesOf } from '../../test/selections.js';
import { doraLinear, doraNorms } from './dora-linear.js';
import { doraLinearReference, doraNormsReference } from './dora-linear.reference.js';

type M = tf.Tensor2D;

const inputsOf = (T: number, In: number, Out: number, r: number) => ({
  x: random2d(T, In, 1),
  base: random2d(T, Out, 2),
  A: random2d(r, In, 3),
  B: random2d(Out, r, 4),
  m: tf.add(tf.abs(random1d(Out, 5)), 0.5) as tf.Tensor1D,
  W: random2d(Out, In, 16),
  b: random1d(Out, 7),
});

describe.each(PATHS)('doraLinear() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3, 4, 2],
    [1, 1, 1, 1],
    [5, 7, 3, 2],
    [1, 4, 6, 3],
    [33, 17, 21, 8],
  ])('equals its reference for %i tokens, %i inputs, %i outputs, rank %i', (T, In, Out, r) => {
    const { x, base, A, B, m, W, b } = inputsOf(T, In, Out, r);
    const shapes = { T, In, Out, r };
    const norms = doraNormsReference(valuesOf(W), valuesOf(A), valuesOf(B), 0.5, shapes);
    expectAllClose('norms', doraNorms(W, A, B, 0.5), norms);
    for (const bias of [null, b]) {
      const expected = doraLinearReference(
        ...([x, base, A, B, m].map(valuesOf) as [Float32Array, Float32Array, Float32Array, Float32Array, Float32Array]),
        norms,
        bias && valuesOf(bias),
        0.5,
        shapes,
      );
      expectAllClose('y', doraLinear(x, base, A, B, m, W, 0.5, bias), expected);
      const gradients = tf.grads((x, base, A, B, m) =>
        doraLinear(x as M, base as M, A as M, B as M, m as tf.Tensor1D, W, 0.5, bias),
      )([x, base, A, B, m]);
      expect(gradients.map((g) => g.shape)).toEqual([x, base, A, B, m].map((t) => t.shape));
    }
  });

  it.each([[false], [true]])(
    'has the gradients of finite differences where the norm is held fixed, bias: %s',
    (biased) => {
      const { x, base, A, B, m, W, b } = inputsOf(3, 4, 2, 2);
      const bias = biased ? b : null;
      expectGradients(
        'x, base, m',
        (x, base, m) => doraLinear(x as M, base as M, A, B, m as tf.Tensor1D, W, 0.5, bias),
        [x, base, m],
      );
      // Held fixed, as autodiff of the formula with a constant norm says it.
      const c = tf.div(m, doraNorms(W, A, B, 0.5));
      const formula = (A: tf.Tensor, B: tf.Tensor) => {
        const lora = tf.mul(tf.matMul(tf.matMul(x, A as M, false, true), B as M, false, true), 0.5);
        const z = tf.mul(tf.add(biased ? tf.sub(base, b) : base, lora), c);
        return biased ? tf.add(z, b) : z;
      };
      const dy = random2d(3, 2, 8);
      const expected = tf.grads(formula)([A, B], dy);
      const actual = tf.grads((A, B) => doraLinear(x, base, A as M, B as M, m, W, 0.5, bias))([A, B], dy);
      expectAllClose('dA', actual[0]!, expected[0]!, TOLERANCE.gradient);
      expectAllClose('dB', actual[1]!, expected[1]!, TOLERANCE.gradient);
    },
  );

  it('with the norm as magnitude is base + s·lora: where DoRA starts', () => {
    const { x, base, A, B, W, b } = inputsOf(3, 4, 2, 2);
    const y = doraLinear(x, base, A, B, doraNorms(W, A, B, 0.5), W, 0.5, b);
    const lora = tf.mul(tf.matMul(tf.matMul(x, A, false, true), B, false, true), 0.5);
    expectAllClose('y', y, tf.add(base, lora));
  });

  it('gives the bias, and no NaN, where a row of the weight is zero', () => {
    const { x, base, A, B, b } = inputsOf(2, 3, 2, 1);
    const y = doraLinear(x, base, A, tf.zerosLike(B), tf.ones([2]), tf.zeros([2, 3]), 1, b);
    expectAllClose('y', y, tf.tile(tf.expandDims(b, 0), [2, 1]));
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const { x, base, A, B, m, W, b } = inputsOf(3, 4, 2, 2);
    await expectNoLeak(() => doraNorms(W, A, B, 1), 1);
    await expectNoLeak(() => doraLinear(x, base, A, B, m, W, 1, b), 1);
    await expectNoLeak(() => {
      const gradients = tf.grads((x, base, A, B, m) =>
        doraLinear(x as M, base as M, A as M, B as M, m as tf.Tensor1D, W, 1, b),
      )([x, base, A, B, m]);
      tf.dispose(gradients);
    });
  });

  it('says what it wanted when the shapes do not fit', () => {
    const { x, base, A, B, m, W } = inputsOf(3, 4, 2, 2);
    expect(() => doraLinear(x, base, A, B, tf.ones([3]), W, 1)).toThrow(
      'magnitude [3] and bias [none] must have one number for each of 2 outputs',
    );
    expect(() => doraLinear(x, base, A, B, m, tf.zeros([4, 2]), 1)).toThrow(
      'weight [4,2] must be [2,4], outputs by inputs',
    );
    expect(() => doraNorms(W, B, A, 1)).toThrow('must be [out, in], [r, in] and [out, r]');
  });
});
