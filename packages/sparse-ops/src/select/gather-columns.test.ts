import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random2d, selectionOf, someOf, valuesOf } from '../../test/selections.js';
import { gatherColumns } from './gather-columns.js';
import { gatherColumnsReference } from './gather-columns.reference.js';
import { scatterColumnsReference } from './scatter-columns.reference.js';

describe.each(PATHS)('gatherColumns() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 4],
    [1, 1],
    [5, 1],
    [1, 6],
    [19, 13],
  ])('equals its reference, and its gradient too, for [%i, %i]', (T, n) => {
    const [x, keep] = [random2d(T, n, 1), someOf(n)];
    const y = gatherColumns(x, keep);
    expect(y.shape).toEqual([T, keep.kept]);
    expectAllClose('y', y, gatherColumnsReference(valuesOf(x), indicesOf(keep), T, n));
    const dy = random2d(T, keep.kept, 2);
    const dx = tf.grad((t) => gatherColumns(t as tf.Tensor2D, keep))(x, dy);
    expectAllClose('dx', dx, scatterColumnsReference(valuesOf(dy), indicesOf(keep), T, n));
  });

  it('has the gradient of finite differences', () => {
    const keep = selectionOf(4, [0, 3]);
    expectGradients('gatherColumns', (x) => gatherColumns(x as tf.Tensor2D, keep), [random2d(3, 4, 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, keep] = [random2d(4, 3, 1), someOf(3)];
    await expectNoLeak(() => gatherColumns(x, keep), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => gatherColumns(t as tf.Tensor2D, keep))(x)
        .dispose(),
    );
  });

  it('says what it wanted when the selection is of another width', () => {
    expect(() => gatherColumns(tf.zeros([2, 3]), someOf(4))).toThrow(
      'gatherColumns: the selection is of 4 channels, x [2,3] has 3',
    );
  });
});
