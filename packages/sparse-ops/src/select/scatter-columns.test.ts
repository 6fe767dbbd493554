import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { indicesOf, random2d, selectionOf, someOf, valuesOf } from '../../test/selections.js';
import { gatherColumnsReference } from './gather-columns.reference.js';
import { scatterColumns } from './scatter-columns.js';
import { scatterColumnsReference } from './scatter-columns.reference.js';

describe.each(PATHS)('scatterColumns() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 4],
    [1, 1],
    [5, 1],
    [1, 6],
    [19, 13],
  ])('equals its reference, and its gradient too, for %i tokens, %i channels', (T, n) => {
    const keep = someOf(n);
    const [x, dy] = [random2d(T, keep.kept, 1), random2d(T, n, 2)];
    const y = scatterColumns(x, keep);
    expect(y.shape).toEqual([T, n]);
    expectAllClose('y', y, scatterColumnsReference(valuesOf(x), indicesOf(keep), T, n));
    const dx = tf.grad((t) => scatterColumns(t as tf.Tensor2D, keep))(x, dy);
    expectAllClose('dx', dx, gatherColumnsReference(valuesOf(dy), indicesOf(keep), T, n));
  });

  it('has the gradient of finite differences', () => {
    const keep = selectionOf(5, [1, 2, 4]);
    expectGradients('scatterColumns', (x) => scatterColumns(x as tf.Tensor2D, keep), [random2d(2, 3, 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, keep] = [random2d(4, 2, 1), selectionOf(3, [0, 2])];
    await expectNoLeak(() => scatterColumns(x, keep), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => scatterColumns(t as tf.Tensor2D, keep))(x)
        .dispose(),
    );
  });

  it('says what it wanted when x has not the kept columns', () => {
    expect(() => scatterColumns(tf.zeros([2, 4]), selectionOf(4, [0, 2]))).toThrow(
      'scatterColumns: x [2,4] must have one column for each of 2 kept channels',
    );
  });
});
