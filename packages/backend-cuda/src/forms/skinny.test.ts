/** @file Products of few rows of codes with frozen matrices as they lie, against products in double precision of the numbers that codes stand for. */
import { storeAs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { e4m3WeightReference } from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { distance, matrix, numbers, times, twice } from '../../test/e4m3.js';
import { codebookOf } from './e4m3.js';
import { QuantisedRows } from './quantised-rows.js';
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

  /** Codes of x [rows, columns] and their first columns as rows to be multiplied, with scales of no system; the numbers that they stand for; what is to be given back. */
  function codesOf(rows: number, all: number, columns: number, byRow: boolean) {
    const x = numbers(rows * all);
    const codes = stored([rows, all], x);
    const scales = Float32Array.from({ length: byRow ? rows : 1 }, (_, r) => 0.75 + 0.1 * (r % 7));
    const ofRows = tf.tensor1d(scales);
    const { scale } = codebookOf(cuda(), codes);
    const values = e4m3WeightReference(x)
      .map((value, i) => (value / scale) * scales[byRow ? Math.floor(i / all) : 0]!)
      .filter((_, i) => i % all < columns);
    const [at, scalesAt] = [codes, ofRows].map((tensor) => cuda().address(tensor)) as [number, number];
    const given = new QuantisedRows(cuda(), at, scalesAt, byRow, rows, columns, all, []);
    return { given, values, tensors: [codes, ofRows] };
  }

  for (const type of ['bf16', 'f32'] as const) {
    it.each(CASES)(`to ${type}: %j`, ({ rows, shape, transposed, beta, wider = 0 }) => {
      const [n, inner] = transposed ? [shape[1], shape[0]] : shape;
      const { given, values, tensors } = codesOf(rows, inner + wider, inner, rows !== 9);
      const [w, c] = [numbers(shape[0] * shape[1], 0.05), numbers(rows * n)];
      const product = times(values, rows, e4m3WeightReference(w), [...shape], transposed);
      const expected = product.map((sum, i) => sum + beta * c[i]!);
      const [weight, under] = [stored(shape, w), matrix(rows, n, c)];
      const { scale } = codebookOf(cuda(), weight);
      const [y] = twice(() => {
        const d = cuda().output([rows, n], 'float32', type);
        const below = cuda().as(under, type);
        const sum = { d: cuda().address(d), type, beta, c: cuda().address(below) };
        expect(timesSkinny(cuda(), given, weight, scale, transposed, sum)).toBe(true);
        cuda().release(below);
        return [tf.engine().makeTensorFromTensorInfo(d)];
      });
      // Products of codes are exact in float; what is written in bf16 is rounded once.
      expect(distance(y!, expected)).toBeLessThan(type === 'bf16' ? 3e-3 : 2e-6);
      tf.dispose([weight, under, ...tensors]);
    });
  }

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
