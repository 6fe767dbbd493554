import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { gatherRows } from './gather-rows.js';
import { gatherRowsGradReference, gatherRowsReference } from './gather-rows.reference.js';

const rowsOf = (rows: number[]) => tf.tensor1d(rows, 'int32');

describe.each(PATHS)('gatherRows() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [1, 1, [0]],
    [4, 3, []],
    [4, 1, [3, 0]],
    [5, 7, [2, 2, 0, 4, 2]],
    [9, 33, [8, 1, 8]],
  ])('equals its reference, and its gradient too, for [%i, %i] and rows %j', (M, n, indices) => {
    const [x, rows, dy] = [random2d(M, n, 1), rowsOf(indices), random2d(indices.length, n, 2)];
    const y = gatherRows(x, rows);
    expect(y.shape).toEqual([indices.length, n]);
    expectAllClose('y', y, gatherRowsReference(valuesOf(x), indices, n));
    const dx = tf.grad((t) => gatherRows(t as tf.Tensor2D, rows))(x, dy);
    expectAllClose('dx', dx, gatherRowsGradReference(valuesOf(dy), indices, M, n), TOLERANCE.gradient);
  });

  it('has the gradient of finite differences, of a row named twice the sum', () => {
    const rows = rowsOf([1, 0, 1]);
    expectGradients('gatherRows', (x) => gatherRows(x as tf.Tensor2D, rows), [random2d(3, 2, 1)]);
  });

  it('leaves one tensor, and none after its gradient', async () => {
    const [x, rows] = [random2d(4, 3, 1), rowsOf([3, 3])];
    await expectNoLeak(() => gatherRows(x, rows), 1);
    await expectNoLeak(() =>
      tf
        .grad((t) => gatherRows(t as tf.Tensor2D, rows))(x)
        .dispose(),
    );
  });

  it('says what it wanted when rows are no list of whole numbers', () => {
    expect(() => gatherRows(tf.zeros([2, 3]), tf.tensor1d([0, 1]))).toThrow('rows are float32, must be int32');
    expect(() => gatherRows(tf.zeros([2, 3]), tf.zeros([1, 1], 'int32') as never)).toThrow(
      'rows [1,1] must have one dimension',
    );
    expect(() => gatherRows(tf.zeros([2]) as never, rowsOf([0]))).toThrow('x [2] must have two dimensions');
  });
});
