import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random2d, selectionOf, someOf, valuesOf } from '../../test/selections.js';
import { maskColumns } from './mask-columns.js';
import { maskColumnsReference } from './mask-columns.reference.js';

describe.each(PATHS)('maskColumns() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 4, 0],
    [1, 1, 0],
    [1, 6, 1],
    [5, 7, 0],
    [19, 13, 8],
    [3, 4, 3],
  ])('equals its reference, and its gradient too, for [%i, %i] from row %i', (T, n, fromRow) => {
    const [x, dy, keep] = [random2d(T, n, 1), random2d(T, n, 2), someOf(n)];
    const y = maskColumns(x, keep, fromRow);
    expect(y.shape).toEqual([T, n]);
    expectAllClose('y', y, maskColumnsReference(valuesOf(x), indicesOf(keep), fromRow, T, n));
    const dx = tf.grad((t) => maskColumns(t as tf.Tensor2D, keep, fromRow))(x, dy);
    expectAllClose('dx', dx, maskColumnsReference(valuesOf(dy), indicesOf(keep), fromRow, T, n));
  });

  it('has the gradient of finite differences', () => {
    const keep = selectionOf(4, [0, 3]);
    expectGradients('maskColumns', (x) => maskColumns(x as tf.Tensor2D, keep, 1), [random2d(3, 4, 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, keep] = [random2d(4, 3, 1), someOf(3)];
    for (const fromRow of [0, 2, 4]) {
      await expectNoLeak(() => maskColumns(x, keep, fromRow), 1);
      await expectNoLeak(() =>
        tf
          .grad((t) => maskColumns(t as tf.Tensor2D, keep, fromRow))(x)
          .dispose(),
      );
    }
  });

  it('says what it wanted when the selection or the row does not fit', () => {
    expect(() => maskColumns(tf.zeros([2, 3]), someOf(4), 0)).toThrow('the selection is of 4 channels, x [2,3] has 3');
    expect(() => maskColumns(tf.zeros([2, 3]), someOf(3), 3)).toThrow(
      'fromRow is 3, must be a whole number from 0 to 2',
    );
  });
});
