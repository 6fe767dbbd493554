import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { transposed } from '../project/lora-linear.reference.js';
import { gatherColumnsReference } from '../select/gather-columns.reference.js';
import { scatterColumnsReference } from '../select/scatter-columns.reference.js';
import { putColumns, takeColumns, takeColumnsTransposed } from './columns.js';

describe.each(PATHS)('columns on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [7, 5, [1, 3, 4]],
    [1, 1, [0]],
    [0, 4, [0, 2]],
    [19, 8, [7]],
    [3, 6, []],
  ] as const)('are taken, taken transposed, and put back as the references say: [%i, %i], columns %j', (T, n, kept) => {
    const x = random2d(T, n, 1);
    const indices = tf.tensor1d([...kept], 'int32');
    const taken = takeColumns(x, indices);
    const expected = gatherColumnsReference(valuesOf(x), kept, T, n);
    expect(taken.shape).toEqual([T, kept.length]);
    expectAllClose('taken', taken, expected);
    const turned = takeColumnsTransposed(x, indices);
    expect(turned.shape).toEqual([kept.length, T]);
    expectAllClose('taken transposed', turned, transposed(expected, T, kept.length));
    const put = putColumns(taken, indices, n);
    expect(put.shape).toEqual([T, n]);
    expectAllClose('put', put, scatterColumnsReference(expected, kept, T, n));
  });

  it('leave one tensor each', async () => {
    const [x, indices] = [random2d(4, 6, 1), tf.tensor1d([1, 5], 'int32')];
    await expectNoLeak(() => takeColumns(x, indices), 1);
    await expectNoLeak(() => takeColumnsTransposed(x, indices), 1);
    await expectNoLeak(() => putColumns(random2d(4, 2, 1), indices, 6), 2);
  });
});
