import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { batchedMatMulReference } from './batched-matmul.reference.js';
import { matMul2d, prefersPlainProducts, thinProduct } from './matmul.js';

describe.each(PATHS)('matMul2d() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [5, 7, 3],
    [1, 1, 1],
    [1, 40, 30],
    [40, 2, 3],
    [0, 4, 3],
    [4, 0, 3],
    [4, 3, 0],
    [33, 16, 48],
  ])('equals its reference with either operand transposed: %i×%i×%i', (m, k, n) => {
    for (const transposeA of [false, true]) {
      for (const transposeB of [false, true]) {
        const a = transposeA ? random2d(k, m, 1) : random2d(m, k, 1);
        const b = transposeB ? random2d(n, k, 2) : random2d(k, n, 2);
        const y = matMul2d(a, b, transposeA, transposeB);
        expect(y.shape).toEqual([m, n]);
        const expected = batchedMatMulReference(valuesOf(a), valuesOf(b), [1, m, k, n], transposeA, transposeB);
        expectAllClose(`transposed ${transposeA}, ${transposeB}`, y, expected);
      }
    }
  });

  it('leaves one tensor, whichever way it goes', async () => {
    // One row makes the product of the transposes the cheaper one where only plain products are fast.
    for (const rows of [1, 30]) {
      const [a, b] = [random2d(rows, 20, 1), random2d(25, 20, 2)];
      await expectNoLeak(() => matMul2d(a, b, false, true), 1);
    }
  });
});

describe.each(PATHS)('thinProduct() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    [9, 2, 7],
    [0, 2, 3],
    [40, 8, 33],
  ])('is thinᵀ·x: %i rows, %i thin columns, %i', async (T, r, n) => {
    const [thin, x] = [random2d(T, r, 1), random2d(T, n, 2)];
    const y = thinProduct(thin, x);
    expect(y.shape).toEqual([r, n]);
    expectAllClose('y', y, batchedMatMulReference(valuesOf(thin), valuesOf(x), [1, r, T, n], true, false));
    await expectNoLeak(() => thinProduct(thin, x), 1);
  });
});

describe.each(PATHS)('prefersPlainProducts() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it('is true of wasm alone, where its products are those of tfjs', () => {
    expect(prefersPlainProducts()).toBe(backend === 'wasm' && by !== 'kernels');
  });
});
