/** @file Products of few rows of codes with frozen matrices as they lie, against products in double precision of the numbers that codes stand for. */
import { storeAs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { e4m3RowsReference, e4m3WeightReference } from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { distance, matrix, numbers, times, twice } from '../../test/e4m3.js';
import { codebookOf } from './e4m3.js';
import { QuantisedRows, quantiseRows } from './quantised-rows.js';
import { isSkinny, timesSkinny } from './skinny.js';

interface Case {
  readonly rows: number;
  readonly shape: readonly [out: number, inputs: number];
  readonly transposed: boolean;
  readonly beta: 0 | 1;
  /** Columns of the matrix that rows of x begin in, beside theirs. */
  readonly wider?: number;
}

const CASES: readonly Case[] = [
  // Blocks that end together, and a stretch for each of several.
  { rows: 24, shape: [128, 2048], transposed: false, beta: 0 },
  { rows: 24, shape: [2048, 128], transposed: true, beta: 0 },
  // On top of what is there, of one row, and of as many as there may be.
  { rows: 1, shape: [256, 1024], transposed: false, beta: 1 },
  { rows: 32, shape: [1024, 256], transposed: true, beta: 1 },
  // Sides that fill no block, and a unit less than warps take at a time.
  { rows: 9, shape: [720, 320], transposed: false, beta: 0 },
  { rows: 17, shape: [320, 720], transposed: true, beta: 1, wider: 64 },
  // One stretch.
  { rows: 8, shape: [9104, 64], transposed: false, beta: 1, wider: 128 },
  { rows: 5, shape: [32, 17488], transposed: true, beta: 0 },
];

describeCuda('timesSkinny()', () => {
  let before = 0;
  beforeAll(() => {
    before = cuda().skinnyFrom;
    cuda().skinnyFrom = 0;
  });
  afterAll(() => {
    cuda().skinnyFrom = before;
  });

  const stored = (shape: Case['shape'], values: ReturnType<typeof numbers>) =>
    tf.tidy(() => storeAs(matrix(...shape, values), 'fp8'));

  for (const type of ['bf16', 'f32'] as const) {
    it.each(CASES)(`to ${type}: %j`, ({ rows, shape, transposed, beta, wider = 0 }) => {
      const [n, inner] = transposed ? [shape[1], shape[0]] : shape;
      const all = inner + wider;
      const [x, w, c] = [numbers(rows * all), numbers(shape[0] * shape[1], 0.05), numbers(rows * n)];
      const taken = e4m3RowsReference(x, all).filter((_, i) => i % all < inner);
      const product = times(taken, rows, e4m3WeightReference(w), [...shape], transposed);
      const expected = product.map((sum, i) => sum + beta * c[i]!);
      const [weight, ofX, under] = [stored(shape, w), matrix(rows, all, x), matrix(rows, n, c)];
      const { scale } = codebookOf(cuda(), weight);
      const [y] = twice(() => {
        const quantised = quantiseRows(cuda(), ofX);
        const d = cuda().output([rows, n], 'float32', type);
        const below = cuda().as(under, type);
        const sum = { d: cuda().address(d), type, beta, c: cuda().address(below) };
        expect(timesSkinny(cuda(), quantised.sliceColumns(0, inner), weight, scale, transposed, sum)).toBe(true);
        quantised.release();
        cuda().release(below);
        return [tf.engine().makeTensorFromTensorInfo(d)];
      });
      // Products of codes are exact in float; what is written in bf16 is rounded once.
      expect(distance(y!, expected)).toBeLessThan(type === 'bf16' ? 3e-3 : 2e-6);
      tf.dispose([weight, ofX, under]);
    });
  }

  it('has one scale for all rows where there is one', () => {
    const [rows, out, inputs] = [12, 256, 1024];
    const [x, w] = [numbers(rows * inputs), numbers(out * inputs, 0.05)];
    // Rows of which each has another scale.
    const [weight, ofX] = [
      stored([out, inputs], w),
      matrix(
        rows,
        inputs,
        x.map((v, i) => v * 2 ** -Math.floor(i / inputs)),
      ),
    ];
    const each = quantiseRows(cuda(), ofX);
    const { codes, scales, columns, stride } = each;
    const of = (byRow: boolean) => {
      const d = cuda().output([rows, out], 'float32', 'f32');
      const given = new QuantisedRows(cuda(), codes, scales, byRow, rows, columns, stride, []);
      const { scale } = codebookOf(cuda(), weight);
      expect(timesSkinny(cuda(), given, weight, scale, false, { d: cuda().address(d), type: 'f32' })).toBe(true);
      const y = tf.engine().makeTensorFromTensorInfo(d);
      const values = y.dataSync() as Float32Array;
      y.dispose();
      return values;
    };
    const ofRows = new Float32Array(rows);
    cuda().readFrom(scales, ofRows);
    const [byRow, byOne] = [of(true), of(false)];
    expect(new Set(ofRows).size).toBeGreaterThan(6);
    byRow.forEach((value, i) => {
      // Powers of two.
      expect(byOne[i]! / ofRows[0]!).toBe(value / ofRows[Math.floor(i / out)]!);
    });
    each.release();
    tf.dispose([weight, ofX]);
  });

  it('takes few rows of large matrices', () => {
    const isOf = (rows: number, count: number) => isSkinny(cuda(), rows, count);
    cuda().skinnyFrom = before;
    expect(isOf(24, 4096 * 4096)).toBe(true);
    expect(isOf(33, 4096 * 4096)).toBe(false);
    expect(isOf(0, 4096 * 4096)).toBe(false);
    expect(isOf(24, 576 * 1536)).toBe(false);
    cuda().skinnyFrom = 0;
  });

  it('refuses what loads of full width cannot read, and launches nothing', () => {
    const weights = [stored([64, 48], numbers(64 * 48)), stored([48, 64], numbers(48 * 64))] as const;
    const rows = (columns: number, stride = columns, at = 512) =>
      new QuantisedRows(cuda(), at, 512, true, 8, columns, stride, []);
    const taken = (x: QuantisedRows, weight: tf.Tensor, transposed: boolean) =>
      timesSkinny(cuda(), x, weight, 1, transposed, { d: 512, type: 'bf16' });
    const launched = cuda().launches.kernels;
    expect(taken(rows(48), weights[0], false)).toBe(false);
    expect(taken(rows(48), weights[1], true)).toBe(false);
    expect(taken(rows(64, 72), weights[1], false)).toBe(false);
    expect(taken(rows(64, 64, 520), weights[1], false)).toBe(false);
    expect(cuda().launches.kernels).toBe(launched);
    tf.dispose([...weights]);
  });
});
