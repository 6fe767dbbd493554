import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random1d, random2d, selectionOf, someOf, valuesOf } from '../../test/selections.js';
import { scatterColumns } from '../select/scatter-columns.js';
import { linear } from './linear.js';
import { linearKeptColumns } from './linear-kept-columns.js';
import { linearKeptColumnsGradReference, linearKeptColumnsReference } from './linear-kept-columns.reference.js';

describe.each(PATHS)('linearKeptColumns() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3, 4],
    [1, 1, 1],
    [5, 7, 3],
    [4, 9, 1],
    [33, 17, 21],
  ])('equals its reference, and its gradient too, for %i tokens, %i inputs, %i outputs', (T, In, Out) => {
    const [w, b, keep, dy] = [random2d(Out, In, 2), random1d(Out, 3), someOf(In), random2d(T, Out, 4)];
    const x = random2d(T, keep.kept, 1);
    const kept = indicesOf(keep);
    const y = linearKeptColumns(x, w, keep, b);
    expect(y.shape).toEqual([T, Out]);
    expectAllClose('y', y, linearKeptColumnsReference(valuesOf(x), valuesOf(w), kept, valuesOf(b), T, Out, In));
    const dx = tf.grad((t) => linearKeptColumns(t as tf.Tensor2D, w, keep, b))(x, dy);
    const expected = linearKeptColumnsGradReference(valuesOf(dy), valuesOf(w), kept, T, Out, In);
    expectAllClose('dx', dx, expected, TOLERANCE.gradient);
  });

  it('is linear() of the input with zeros in the dropped channels', () => {
    const [x, w, keep] = [random2d(3, 2, 1), random2d(5, 4, 2), selectionOf(4, [0, 3])];
    expectAllClose('y', linearKeptColumns(x, w, keep), linear(scatterColumns(x, keep), w));
  });

  it('has the gradient of finite differences in x', () => {
    const [w, keep] = [random2d(3, 6, 2), selectionOf(6, [0, 4, 5])];
    expectGradients('linearKeptColumns', (x) => linearKeptColumns(x as tf.Tensor2D, w, keep), [random2d(2, 3, 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [w, b, keep] = [random2d(5, 3, 2), random1d(5, 3), someOf(3)];
    const x = random2d(4, keep.kept, 1);
    await expectNoLeak(() => linearKeptColumns(x, w, keep, b), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => linearKeptColumns(t as tf.Tensor2D, w, keep, b))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the shapes do not fit', () => {
    const [w, keep] = [tf.zeros([5, 4]) as tf.Tensor2D, selectionOf(4, [1, 2])];
    expect(() => linearKeptColumns(tf.zeros([2, 4]), w, keep)).toThrow(
      'linearKeptColumns: x [2,4] must have one column for each of 2 kept channels',
    );
    expect(() => linearKeptColumns(tf.zeros([2, 2]), w, someOf(5))).toThrow(
      'the selection is of 5 channels, weight [5,4] with its columns has 4',
    );
    expect(() => linearKeptColumns(tf.zeros([2, 2]), w, keep, tf.zeros([4]))).toThrow(
      'one number for each row of weight [5,4]',
    );
  });
});
