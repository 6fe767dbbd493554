import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { loraLinear } from './lora-linear.js';
import { loraLinearGradReference, loraLinearReference } from './lora-linear.reference.js';

describe.each(PATHS)('loraLinear() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3, 4, 2],
    [1, 1, 1, 1],
    [5, 7, 3, 2],
    [1, 4, 6, 3],
    [9, 6, 1, 1],
    [33, 17, 21, 8],
  ])('equals its reference, and its gradients too, for %i tokens, %i inputs, %i outputs, rank %i', (T, In, Out, r) => {
    const shapes = { T, In, Out, r };
    const [x, base, A, B] = [random2d(T, In, 1), random2d(T, Out, 2), random2d(r, In, 3), random2d(Out, r, 4)];
    const dy = random2d(T, Out, 5);
    const [xs, bases, As, Bs] = [x, base, A, B].map(valuesOf) as [
      Float32Array,
      Float32Array,
      Float32Array,
      Float32Array,
    ];
    expectAllClose('y', loraLinear(x, base, A, B, 0.5), loraLinearReference(xs, bases, As, Bs, 0.5, shapes));
    const gradients = tf.grads((x, base, A, B) =>
      loraLinear(x as tf.Tensor2D, base as tf.Tensor2D, A as tf.Tensor2D, B as tf.Tensor2D, 0.5),
    )([x, base, A, B], dy);
    const expected = loraLinearGradReference(xs, As, Bs, valuesOf(dy), 0.5, shapes);
    gradients.forEach((g, i) => {
      expectAllClose(`gradient of ${['x', 'base', 'A', 'B'][i]}`, g, expected[i]!, TOLERANCE.gradient);
    });
  });

  it('has the gradients of finite differences', () => {
    const inputs = [random2d(3, 4, 1), random2d(3, 2, 2), random2d(2, 4, 3), random2d(2, 2, 4)];
    expectGradients(
      'loraLinear',
      (x, base, A, B) => loraLinear(x as tf.Tensor2D, base as tf.Tensor2D, A as tf.Tensor2D, B as tf.Tensor2D, 2),
      inputs,
    );
  });

  it('lets base be x: the gradients of both ways add up', () => {
    const [x, A, B] = [random2d(3, 4, 1), random2d(2, 4, 3), tf.zeros([4, 2]) as tf.Tensor2D];
    const dx = tf.grad((t) => loraLinear(t as tf.Tensor2D, tf.mul(t, 3) as tf.Tensor2D, A, B, 1))(x);
    expectAllClose('dx', dx, tf.fill([3, 4], 3));
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, base, A, B] = [random2d(4, 3, 1), random2d(4, 5, 2), random2d(2, 3, 3), random2d(5, 2, 4)];
    await expectNoLeak(() => loraLinear(x, base, A, B, 1), 1);
    await expectNoLeak(() => {
      const gradients = tf.grads((x, base, A, B) =>
        loraLinear(x as tf.Tensor2D, base as tf.Tensor2D, A as tf.Tensor2D, B as tf.Tensor2D, 1),
      )([x, base, A, B]);
      tf.dispose(gradients);
    });
  });

  it('says what it wanted when the shapes do not fit', () => {
    const zeros = (m: number, n: number) => tf.zeros([m, n]) as tf.Tensor2D;
    const wanted = 'must be [T, in], [T, out], [r, in] and [out, r]';
    expect(() => loraLinear(zeros(2, 3), zeros(3, 5), zeros(1, 3), zeros(5, 1), 1)).toThrow(wanted);
    expect(() => loraLinear(zeros(2, 3), zeros(2, 5), zeros(1, 4), zeros(5, 1), 1)).toThrow(wanted);
    expect(() => loraLinear(zeros(2, 3), zeros(2, 5), zeros(1, 3), zeros(5, 2), 1)).toThrow(wanted);
  });
});
