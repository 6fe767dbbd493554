import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { matMul2d } from './matmul.js';
import { transpose2d } from './transpose.js';

describe.each(PATHS)('transpose2d() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [0, 3],
    [3, 0],
    [1, 1],
    [1, 5],
    [5, 1],
    [8, 3],
    [19, 17],
  ])('turns rows of [%i, %i] into columns', (m, n) => {
    const x = random2d(m, n, 1);
    const y = transpose2d(x);
    expect(y.shape).toEqual([n, m]);
    const values = valuesOf(x);
    expectAllClose(
      'y',
      y,
      Float32Array.from({ length: m * n }, (_, i) => values[(i % m) * n + Math.floor(i / m)]!),
    );
  });

  it('gives a product its own right operand: [1, n] and its transpose do not share what a backend packs', () => {
    const [row, x, s] = [tf.tensor2d([[1, 2, 3]]), tf.tensor2d([[1, 1, 1]]), tf.tensor2d([[2]])];
    expectAllClose('s·row', matMul2d(s, row), [2, 4, 6]);
    expectAllClose('x·rowᵀ', matMul2d(x, row, false, true), [6]);
    expectAllClose('s·row', matMul2d(s, row), [2, 4, 6]);
  });

  it('leaves one tensor', async () => {
    for (const x of [random2d(4, 3, 1), random2d(1, 3, 1)]) await expectNoLeak(() => transpose2d(x), 1);
  });
});
