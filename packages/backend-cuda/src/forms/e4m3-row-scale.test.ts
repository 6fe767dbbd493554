/** @file The scales of rows that become codes: whoever writes them gives a row the scale, and the codes, that the oracle says. */
import { storeAs } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import {
  e4m3FinestScale,
  e4m3RowsReference,
  e4m3Scale,
  roundToE4m3,
} from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { bf16Tensor, roundToBf16 } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { matrix, numbers } from '../../test/e4m3.js';
import { rmsNorm } from '../spft/norm/rms-norm.js';
import { wantCodes, writtenAlong } from './codes-along.js';
import { chooseOutliers, type OutlierChannels } from './outlier-channels.js';
import { quantisedActivation } from './quantised-activation.js';
import { type QuantisedRows, quantiseRows } from './quantised-rows.js';

/** What is on the device: scales and the numbers that codes stand for, those of outlier channels with what lies behind the row. */
function contentsOf({ codes, scales, rows, columns, stride, outliers }: QuantisedRows): {
  scales: number[];
  values: number[];
} {
  const [bytes, floats] = [new Uint8Array(rows * stride), new Float32Array(rows)];
  cuda().readFrom(codes, bytes);
  cuda().readFrom(scales, floats);
  const channels = channelsOf(outliers);
  const values = [...floats].flatMap((scale, row) => {
    const numbers = [...bytes.subarray(row * stride, (row + 1) * stride)].map(numberOf);
    channels.forEach((channel, k) => {
      numbers[channel]! += numbers[columns + k]!;
    });
    return numbers.slice(0, columns).map((x) => x * scale);
  });
  return { scales: [...floats], values };
}

function channelsOf(outliers: OutlierChannels | null): Int32Array {
  const channels = new Int32Array(outliers?.count ?? 0);
  if (outliers) cuda().readFrom(outliers.channels, channels);
  return channels;
}

/** The number that a code stands for. */
function numberOf(code: number): number {
  const [exponent, fraction] = [(code >> 3) & 15, code & 7];
  const size = exponent === 0 ? fraction * 2 ** -9 : (1 + fraction / 8) * 2 ** (exponent - 7);
  return code & 128 ? -size : size;
}

/** Rows of which few channels are strong, as a model's; the strongest is another one in each. */
function rowsWithStrongChannels(rows: number, n: number): Float32Array<ArrayBuffer> {
  const values = numbers(rows * n);
  for (let row = 0; row < rows; row++) {
    for (let k = 0; k < 6; k++) {
      const at = row * n + ((37 * row + 101 * k) % n);
      values[at] = roundToBf16(values[at]! * 3 * (k + 2));
    }
  }
  return values;
}

const errorOf = (values: ArrayLike<number>, of: Float32Array) =>
  of.reduce((sum, x, n) => sum + (values[n]! - x) ** 2, 0);

const ROWS = 5;
/** Of every kind of stretch (1 to 64 octets), of a last one that is shorter, and of what threads hold 1 and 4 octets of. */
const WIDTHS = [16, 48, 112, 272, 576, 1536, 2064, 4096, 5120, 9216, 14336];

describeCuda('scales of rows in e4m3', () => {
  const check = (made: QuantisedRows, values: Float32Array, n: number) => {
    const { scales, values: found } = contentsOf(made);
    const rows = scales.map((_, row) => values.subarray(row * n, (row + 1) * n));
    expect(scales).toEqual(rows.map((row) => e4m3FinestScale(row).scale));
    const expected = e4m3RowsReference(values, n, new Set(channelsOf(made.outliers)));
    expect(found.filter((x, at) => Math.fround(x) !== expected[at])).toEqual([]);
  };

  it.each(WIDTHS)('are the oracle’s where rows of %i are quantised, and where the norm before does', (n) => {
    const before = cuda().numDataIds();
    const values = rowsWithStrongChannels(ROWS, n);
    const x = matrix(ROWS, n, values);
    const made = quantiseRows(cuda(), x, 'input');
    check(made, values, n);
    made.release();

    wantCodes(cuda(), [n, n]);
    cuda().data.packed++;
    const scale = tf.tensor1d(numbers(n));
    const y = rmsNorm(cuda(), x, scale, 1e-5);
    cuda().data.packed--;
    const normed = tf.engine().makeTensorFromTensorInfo(y);
    check(writtenAlong(cuda(), y)!, normed.dataSync() as Float32Array, n);
    tf.dispose([x, scale, normed]);
    expect(cuda().numDataIds()).toBe(before);
  });

  it.each([
    [48, 16],
    [576, 64],
    [1536, 128],
    [4096, 240],
    [9216, 128],
    [14336, 240],
  ])(
    'are the oracle’s where rows of %i with %i outlier channels are quantised, and where the norm before does',
    (n, count) => {
      const before = cuda().numDataIds();
      const values = rowsWithStrongChannels(ROWS, n);
      const x = matrix(ROWS, n, values);
      const made = quantiseRows(cuda(), x, 'input', chooseOutliers(cuda(), x, x, count));
      check(made, values, n);
      made.release();

      const scale = tf.tensor1d(numbers(n));
      const weight = tf.tidy(() => storeAs(matrix(16, n), 'fp8', { outlierChannels: count }));
      // More rows than the GPU has blocks for: a block has several in turn.
      const repeated = n > 4096 ? 1 : 200;
      const rows = tf.tidy(() => tf.tile(x, [repeated, 1]));
      const y = rmsNorm(cuda(), rows, scale, 1e-5);
      const normed = tf.engine().makeTensorFromTensorInfo(y);
      const along = writtenAlong(cuda(), y)!;
      expect(along.outliers?.count).toBe(count);
      const numbersOf = normed.dataSync() as Float32Array;
      for (const from of [0, along.rows - ROWS]) {
        check(along.slice(from, from + ROWS), numbersOf.subarray(from * n, (from + ROWS) * n), n);
      }
      along.release();
      tf.dispose([x, rows, scale, weight, normed]);
      expect(cuda().numDataIds()).toBe(before);
    },
  );

  it.each([
    [48, 0],
    [1536, 0],
    [14336, 0],
    [48, 16],
    [1536, 128],
    [14336, 240],
  ])('are the oracle’s where SwiGLU of %i channels, %i of them outliers, writes codes', (n, count) => {
    const [gate, up] = [matrix(ROWS, n, rowsWithStrongChannels(ROWS, n)), matrix(ROWS, n)];
    const places = [gate, up].map((t) => ({ address: cuda().address(t), stride: n })) as [Place, Place];
    const outliers = count === 0 ? null : chooseOutliers(cuda(), gate, gate, count);
    const made = quantisedActivation(cuda(), ...places, { rows: ROWS, columns: n, type: 'bf16' }, null, outliers);
    // The kernel divides approximately: the numbers are those that its codes and scales say, to a step.
    const { values } = contentsOf(made);
    const [g, u] = [gate.dataSync(), up.dataSync()];
    const y = Float32Array.from(g, (x, at) => roundToBf16((x / (1 + Math.exp(-x))) * u[at]!));
    const expected = e4m3RowsReference(y, n, new Set(channelsOf(outliers)));
    expect(errorOf(values, y)).toBeLessThan(1.02 * errorOf(expected, y) + 1e-12);
    made.release();
    tf.dispose([gate, up]);
  });

  type Place = { readonly address: number; readonly stride: number };

  it('round strong channels less than a power of two would, and leave numbers that have codes as they are', () => {
    const n = 576;
    const values = rowsWithStrongChannels(ROWS, n);
    const plain = Float32Array.from({ length: ROWS }, (_, row) => e4m3Scale(values.subarray(row * n, (row + 1) * n)));
    const byPowers = values.map((x, at) => {
      const scale = plain[Math.floor(at / n)]!;
      return roundToE4m3(x / scale) * scale;
    });
    const x = matrix(ROWS, n, values);
    const made = quantiseRows(cuda(), x, 'input');
    expect(errorOf(contentsOf(made).values, values)).toBeLessThan(0.8 * errorOf(byPowers, values));
    made.release();

    const exact = bf16Tensor([...byPowers], [ROWS, n]);
    const again = quantiseRows(cuda(), exact, 'input');
    expect(contentsOf(again).values).toEqual([...byPowers]);
    again.release();
    tf.dispose([x, exact]);
  });

  it('of gradients are powers of two', () => {
    const x = matrix(ROWS, 576, rowsWithStrongChannels(ROWS, 576));
    const made = quantiseRows(cuda(), x, 'gradient');
    for (const scale of contentsOf(made).scales) expect(Number.isInteger(Math.log2(scale))).toBe(true);
    made.release();
    x.dispose();
  });
});
