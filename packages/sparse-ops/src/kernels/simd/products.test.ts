import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../../test/support/allclose.js';
import { useBackend } from '../../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../../test/support/leaks.js';
import { random2d, valuesOf } from '../../../test/selections.js';
import { batchedMatMulReference } from '../../engine/batched-matmul.reference.js';
import { takeColumns } from '../../engine/columns.js';
import { meetBackend } from '../../engine/meet-backend.js';
import { linear } from '../../project/linear.js';
import { linearReference } from '../../project/linear.reference.js';
import { linearKeptColumns } from '../../project/linear-kept-columns.js';
import { linearKeptRows } from '../../project/linear-kept-rows.js';
import { askForSimd, runsSimd, simdModule } from './module.js';
import { hasSimdProducts } from './register.js';

const TRANSPOSITIONS = [false, true].flatMap((a) => [false, true].map((b) => [a, b] as const));

/** Around the sizes at which the kernel goes over to another tile, another block of rows, and another stretch of k. */
const SIZES = [
  [1, 1, 1],
  [4, 8, 8],
  [3, 5, 7],
  [5, 9, 13],
  [4, 257, 8],
  [5, 256, 9],
  [193, 3, 17],
  [200, 513, 33],
  [0, 4, 3],
  [4, 0, 3],
  [4, 3, 0],
] as const;

const multiplied = (m: number, k: number, n: number, [ta, tb]: readonly [boolean, boolean]) => {
  const a = ta ? random2d(k, m, 1) : random2d(m, k, 1);
  const b = tb ? random2d(n, k, 2) : random2d(k, n, 2);
  return { a, b, y: tf.matMul(a, b, ta, tb) as tf.Tensor2D };
};

/** Every third channel, from the last. */
const some = (total: number) => {
  const indices = Array.from({ length: Math.ceil(total / 3) }, (_, i) => total - 1 - 3 * i).reverse();
  return { indices: tf.tensor1d(indices, 'int32'), kept: indices.length, total, list: indices };
};

const KINDS = (['plain', 'relaxed'] as const).filter(runsSimd);

it('has both modules run on engines with relaxed SIMD', () => {
  const [major] = process.versions.node.split('.').map(Number);
  expect(KINDS).toEqual(major! >= 22 ? ['plain', 'relaxed'] : KINDS);
  expect(KINDS).toContain('plain');
});

describe.each(KINDS)('products of the wasm backend with %s SIMD', (kind) => {
  beforeAll(async () => {
    await useBackend('wasm');
    meetBackend();
    askForSimd({ kind });
    expect(hasSimdProducts()).toBe(true);
  });
  afterAll(() => askForSimd({}));

  it.each(SIZES)('are those of plain loops, with either operand transposed: %i×%i×%i', (m, k, n) => {
    for (const transposed of TRANSPOSITIONS) {
      const { a, b, y } = multiplied(m, k, n, transposed);
      expect(y.shape).toEqual([m, n]);
      expectAllClose('y', y, batchedMatMulReference(valuesOf(a), valuesOf(b), [1, m, k, n], ...transposed));
    }
  });

  it.each([0, 1, 4, 5, 200])('are right of %i tokens in linear layers, dense and by kept rows and columns', (T) => {
    const [x, weight, bias] = [random2d(T, 37, 1), random2d(29, 37, 2), tf.randomNormal([29]) as tf.Tensor1D];
    const [w, b] = [valuesOf(weight), valuesOf(bias)];
    for (const withBias of [false, true]) {
      const add = withBias ? bias : null;
      const dense = linearReference(valuesOf(x), w, withBias ? b : null, T, 37, 29);
      expectAllClose('linear', linear(x, weight, add), dense);
      const rows = some(29);
      const byRows = Array.from({ length: T }, (_, t) => rows.list.map((c) => dense[t * 29 + c]!)).flat();
      expectAllClose('kept rows', linearKeptRows(x, weight, rows, add), byRows);
      const columns = some(37);
      const part = takeColumns(x, columns.indices);
      const masked = Float32Array.from(w, (value, i) => (columns.list.includes(i % 37) ? value : 0));
      const byColumns = linearReference(valuesOf(x), masked, withBias ? b : null, T, 37, 29);
      expectAllClose('kept columns', linearKeptColumns(part, weight, columns, add), byColumns);
    }
  });

  it('carry what is no number to where plain loops do, and nowhere else', () => {
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      for (const transposed of TRANSPOSITIONS) {
        // A row and a column at the edge of a tile, a zero beside an infinity, and three rows, which go another way.
        for (const [m, k, n] of [
          [6, 11, 10],
          [3, 11, 10],
        ] as const) {
          const { a, b } = multiplied(m, k, n, transposed);
          const [left, right] = [valuesOf(a).slice(), valuesOf(b).slice()];
          left[transposed[0] ? 2 * m + 1 : k + 2] = bad;
          right[transposed[1] ? 9 * k + 2 : 2 * n + 9] = 0;
          const y = tf.matMul(tf.tensor(left, a.shape), tf.tensor(right, b.shape), ...transposed);
          const expected = batchedMatMulReference(left, right, [1, m, k, n], ...transposed);
          const kinds = (values: ArrayLike<number>) =>
            Array.from(values, (v) => (Number.isFinite(v) ? 'number' : String(v)));
          expect(kinds(y.dataSync())).toEqual(kinds(expected));
        }
      }
    }
  });

  it('are taken in batches by tf.matMul, and left to tfjs where batches are of different shapes', () => {
    const [a, b] = [tf.randomNormal([2, 3, 4, 5]), tf.randomNormal([2, 3, 6, 5])];
    const values = [a, b].map((t) => t.dataSync() as Float32Array) as [Float32Array, Float32Array];
    expectAllClose('y', tf.matMul(a, b, false, true), batchedMatMulReference(...values, [6, 4, 5, 6], false, true));
    const one = tf.slice(b, [0, 0, 0, 0], [1, 1, 6, 5]);
    const repeated = Float32Array.from({ length: 6 * 30 }, (_, i) => values[1][i % 30]!);
    const expected = batchedMatMulReference(values[0], repeated, [6, 4, 5, 6], false, true);
    expectAllClose('broadcast', tf.matMul(a, one, false, true), expected);
  });

  it('have the gradients of tf.matMul', () => {
    const [a, b] = [random2d(5, 9, 1), random2d(9, 3, 2)];
    const [da, db] = tf.grads((a, b) => tf.sum(tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D)))([a, b]);
    const ones = new Float32Array(15).fill(1);
    expectAllClose('da', da!, batchedMatMulReference(ones, valuesOf(b), [1, 5, 3, 9], false, true));
    expectAllClose('db', db!, batchedMatMulReference(valuesOf(a), ones, [1, 9, 5, 3], true, false));
  });

  it('leave one tensor, and nothing where there is no room for the result', async () => {
    const [a, b] = [random2d(40, 30, 1), random2d(30, 20, 2)];
    await expectNoLeak(() => tf.matMul(a, b), 1);
    const backend = tf.backend() as tf.KernelBackend & { makeOutput(): tf.TensorInfo; numDataIds(): number };
    const before = backend.numDataIds();
    const make = backend.makeOutput;
    backend.makeOutput = () => {
      throw new Error('no room');
    };
    try {
      expect(() => tf.matMul(a, b)).toThrow('no room');
    } finally {
      backend.makeOutput = make;
    }
    expect(backend.numDataIds()).toBe(before);
  });

  it('sum each element alike whatever part of the result a call makes, which threads divide', () => {
    const [m, k, n] = [37, 600, 29];
    const memory = new WebAssembly.Memory({ initial: 16, maximum: 16 });
    const { multiply } = simdModule({ wasm: { asm: { memory } } })!;
    const floats = new Float32Array(memory.buffer);
    const [a, b, c, scratch] = [0, 40_000, 70_000, 75_000];
    for (let i = 0; i < m * k; i++) floats[a + i] = Math.sin(i);
    for (let i = 0; i < k * n; i++) floats[b + i] = Math.cos(i);
    const part = (i0: number, i1: number, j0: number, j1: number) =>
      multiply(4 * a, 4 * k, 0, 4 * b, 4 * n, 0, 0, 0, 4 * c, 4 * n, 0, 0, k, 1, i0, i1, j0, j1, 4 * scratch);
    part(0, m, 0, n);
    const whole = floats.slice(c, c + m * n);
    for (const [rows, columns] of [
      [4, 8],
      [7, 5],
      [37, 3],
    ] as const) {
      floats.fill(0, c, c + m * n);
      for (let i = 0; i < m; i += rows)
        for (let j = 0; j < n; j += columns) part(i, Math.min(m, i + rows), j, Math.min(n, j + columns));
      expect(floats.slice(c, c + m * n)).toEqual(whole);
    }
  });
});
