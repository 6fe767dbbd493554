import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random1d, random2d, selectionOf, someOf, valuesOf } from '../../test/selections.js';
import { linear } from './linear.js';
import { linearKeptRows } from './linear-kept-rows.js';
import { linearKeptRowsGradReference, linearKeptRowsReference } from './linear-kept-rows.reference.js';

describe.each(PATHS)('linearKeptRows() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3, 4],
    [1, 1, 1],
    [5, 7, 3],
    [4, 1, 9],
    [33, 17, 21],
  ])('equals its reference, and its gradient too, for %i tokens, %i inputs, %i outputs', (T, In, Out) => {
    const [x, w, b, keep] = [random2d(T, In, 1), random2d(Out, In, 2), random1d(Out, 3), someOf(Out)];
    const dy = random2d(T, keep.kept, 4);
    const expected = linearKeptRowsReference(valuesOf(x), valuesOf(w), indicesOf(keep), valuesOf(b), T, In);
    const y = linearKeptRows(x, w, keep, b);
    expect(y.shape).toEqual([T, keep.kept]);
    expectAllClose('y', y, expected);
    const dx = tf.grad((t) => linearKeptRows(t as tf.Tensor2D, w, keep, b))(x, dy);
    const expectedGrad = linearKeptRowsGradReference(valuesOf(dy), valuesOf(w), indicesOf(keep), T, In);
    expectAllClose('dx', dx, expectedGrad, TOLERANCE.gradient);
  });

  it('with every row kept is linear()', () => {
    const [x, w] = [random2d(3, 4, 1), random2d(5, 4, 2)];
    expectAllClose('y', linearKeptRows(x, w, selectionOf(5, [0, 1, 2, 3, 4])), linear(x, w), {
      relative: 0,
      absolute: 0,
    });
  });

  it('has the gradient of finite differences in x', () => {
    const [w, keep] = [random2d(6, 3, 2), selectionOf(6, [0, 4, 5])];
    expectGradients('linearKeptRows', (x) => linearKeptRows(x as tf.Tensor2D, w, keep), [random2d(2, 3, 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, w, b, keep] = [random2d(4, 3, 1), random2d(5, 3, 2), random1d(5, 3), someOf(5)];
    await expectNoLeak(() => linearKeptRows(x, w, keep, b), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => linearKeptRows(t as tf.Tensor2D, w, keep, b))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    const [x, w] = [tf.zeros([2, 3]) as tf.Tensor2D, tf.zeros([5, 3]) as tf.Tensor2D];
    expect(() => linearKeptRows(x, w, someOf(4))).toThrow(
      'linearKeptRows: the selection is of 4 channels, weight [5,3] has 5',
    );
    expect(() => linearKeptRows(tf.zeros([2, 4]), w, someOf(5))).toThrow(
      'linearKeptRows: x [2,4] must have as many columns as weight [5,3]',
    );
    expect(() => linearKeptRows(x, w, someOf(5), tf.zeros([4]))).toThrow('bias [4] one number for each of its rows');
    expect(() => linearKeptRows(x, w, { ...someOf(5), kept: 2 })).toThrow(
      'keeps 2 of 5 channels and holds indices [3]; wanted one index for each kept',
    );
    const floats = { indices: tf.tensor1d([1]), kept: 1, total: 5 };
    expect(() => linearKeptRows(x, w, floats)).toThrow('indices of a selection are float32, must be int32');
  });
});
