/** @file Outlier channels: which they are, what codes of rows have of them, and that products with their columns are those of the numbers that both codes stand for. */
import {
  createStepRecorder,
  gatedMlp,
  linear,
  linearKeptColumns,
  linearKeptRows,
  projectRows,
  rmsNorm,
  type StepInputs,
  storeAs,
} from '@spft/sparse-ops';
import { formBytes } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { expect, it, vi } from 'vitest';
import {
  e4m3GradientRowsReference,
  e4m3RowsReference,
  e4m3WeightReference,
} from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { roundToBf16 } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { distance, matrix, numbers, selection, times, twice } from '../../test/e4m3.js';
import { codebookOf } from './e4m3.js';
import { outliersOf, strongest } from './outlier-channels.js';

const COUNT = 16;
/** Of which 16 are far above the others, by so many times. */
const channelsOf = (n: number) => Array.from({ length: COUNT }, (_, k) => (k * 29 + 5) % n).sort((a, b) => a - b);

/** Rows [T, n] whose outlier channels are up to 100 times the others. */
function rowsWithOutliers(T: number, n: number): Float32Array<ArrayBuffer> {
  const values = numbers(T * n);
  for (let t = 0; t < T; t++) {
    channelsOf(n).forEach((channel, k) => {
      values[t * n + channel] = roundToBf16(values[t * n + channel]! * (10 + 6 * k));
    });
  }
  return values;
}

const stored = (out: number, inputs: number, w: ReturnType<typeof numbers>) =>
  tf.tidy(() => storeAs(matrix(out, inputs, w), 'fp8', { outlierChannels: COUNT }));
const rounded = (x: Float32Array, n: number) => e4m3RowsReference(x, n, new Set(channelsOf(n)));

describeCuda('outlier channels', () => {
  it('are those of most energy, in ascending order, of equals the first', () => {
    expect([...strongest(Float32Array.of(1, 5, 5, Number.NaN, 2, 5), 3)]).toEqual([1, 2, 3]);
    expect([...strongest(Float32Array.of(3, 1, 2), 2)]).toEqual([0, 2]);
  });

  it.each([
    [7, 32, 48],
    [130, 256, 144],
    [41, 576, 192],
    // Rows that a thread has several octets of, in stretches of other lengths; tensor cores drop bits of so long a sum beside its greatest.
    [6, 9216, 16, 1e-2],
  ] as [T: number, inputs: number, out: number, allowed?: number][])(
    'have twice the bits in products of %i rows of %i channels, and gradients as without',
    (T, inputs, out, allowed = 3e-3) => {
      const [x, w, dy] = [rowsWithOutliers(T, inputs), numbers(out * inputs, 0.05), numbers(T * out)];
      const [input, weight, gradient] = [matrix(T, inputs, x), stored(out, inputs, w), matrix(T, out, dy)];
      const [y, dx] = twice(() => {
        const f = (x: tf.Tensor) => linear(x as tf.Tensor2D, weight) as tf.Tensor;
        return [f(input), tf.grad(f)(input, gradient)];
      });
      expect(outliersOf(cuda(), weight)?.count).toBe(COUNT);
      const codes = e4m3WeightReference(w);
      const exact = times(x, T, codes, [out, inputs]);
      expect(distance(y!, times(rounded(x, inputs), T, codes, [out, inputs]))).toBeLessThan(allowed);
      expect(distance(times(rounded(x, inputs), T, codes, [out, inputs]), exact)).toBeLessThan(
        0.6 * distance(times(e4m3RowsReference(x, inputs), T, codes, [out, inputs]), exact),
      );
      expect(distance(dx!, times(e4m3GradientRowsReference(dy, out), T, codes, [out, inputs], true))).toBeLessThan(
        3e-3,
      );
      // Its values, and few rows that are multiplied as they are, know nothing of the columns behind its rows.
      expect(weight.dataSync()).toEqual(codes);
      const few = matrix(2, inputs, x.slice(0, 2 * inputs));
      const [short] = twice(() => [linear(few, weight)]);
      expect(distance(short!, times(x, 2, codes, [out, inputs]))).toBeLessThan(allowed);
      tf.dispose([input, weight, gradient, few]);
    },
  );

  it('are written with codes by the norm before, for all layers that multiply by it, and stay what they were', () => {
    const [T, n] = [33, 112];
    const before = cuda().numDataIds();
    const weights = [48, 32].map((out) => numbers(out * n, 0.05));
    const layers = weights.map((w) => ({ weight: stored(w.length / n, n, w), bias: null, keep: null, lora: null }));
    const scale = tf.tensor1d(new Float32Array(n).fill(1));
    const multiply = (x: Float32Array<ArrayBuffer>) => {
      const input = matrix(T, n, x);
      const results = twice(() => {
        const normed = rmsNorm(input, scale, 1e-5) as tf.Tensor2D;
        return [normed, ...projectRows(normed, layers, T)];
      });
      input.dispose();
      return results;
    };
    const check = ([normed, ...ys]: Float32Array[]) =>
      ys.forEach((y, k) => {
        const codes = e4m3WeightReference(weights[k]!);
        expect(distance(y, times(rounded(normed!, n), T, codes, [weights[k]!.length / n, n]))).toBeLessThan(3e-3);
      });
    check(multiply(rowsWithOutliers(T, n)));
    expect(outliersOf(cuda(), scale)?.count).toBe(COUNT);
    // Of neither layer, as both take the norm's.
    expect(layers.map(({ weight }) => outliersOf(cuda(), weight))).toEqual([null, null]);
    // Other channels are strong: the choice is made.
    check(multiply(numbers(T * n)));
    tf.dispose([scale, ...layers.map(({ weight }) => weight)]);
    expect(cuda().numDataIds()).toBe(before);
  });

  it('have no part in products of kept columns, and one in those of kept rows where these were written along', () => {
    const [T, out, inputs] = [19, 64, 96];
    const w = numbers(out * inputs, 0.05);
    const [weight, codes] = [stored(out, inputs, w), e4m3WeightReference(w)];
    const indices = Array.from({ length: 32 }, (_, n) => 2 * n + 1);
    const [x, x2] = [rowsWithOutliers(T, inputs), numbers(T * indices.length)];
    const [input, keptInput] = [matrix(T, inputs, x), matrix(T, indices.length, x2)];
    const [keepOut, keepIn] = [selection(indices, out), selection(indices, inputs)];
    const rows = Float32Array.from(indices.flatMap((row) => [...codes.subarray(row * inputs, (row + 1) * inputs)]));
    const columns = Float32Array.from({ length: out * 32 }, (_, at) => {
      return codes[Math.floor(at / 32) * inputs + indices[at % 32]!]!;
    });
    const scale = tf.tensor1d(new Float32Array(inputs).fill(1));
    const [ofRows, ofColumns, normed, along] = twice(() => {
      const normed = rmsNorm(input, scale, 1e-5) as tf.Tensor2D;
      return [
        linearKeptRows(input, weight, keepOut),
        linearKeptColumns(keptInput, weight, keepIn),
        normed,
        linearKeptRows(normed, weight, keepOut),
      ];
    });
    expect(distance(ofRows!, times(e4m3RowsReference(x, inputs), T, rows, [32, inputs]))).toBeLessThan(3e-3);
    expect(distance(ofColumns!, times(e4m3RowsReference(x2, 32), T, columns, [out, 32]))).toBeLessThan(3e-3);
    expect(distance(along!, times(rounded(normed!, inputs), T, rows, [32, inputs]))).toBeLessThan(3e-3);
    tf.dispose([weight, input, keptInput, scale, keepOut.indices, keepIn.indices]);
  });

  it('are those of SwiGLU before down, as it writes codes', () => {
    const [T, n, channels] = [9, 32, 64];
    const w = [channels, channels, n].map((out, k) => numbers(out * (k === 2 ? channels : n), 0.2));
    // A few channels of up are far above the others.
    for (const channel of channelsOf(channels)) {
      for (let i = 0; i < n; i++) w[1]![channel * n + i] = roundToBf16(w[1]![channel * n + i]! * 40);
    }
    const [gate, up, down] = w.map((values, k) => stored(k === 2 ? n : channels, k === 2 ? channels : n, values));
    const of = (weight: tf.Tensor2D | undefined) => ({ weight: weight!, bias: null });
    const [x, residual] = [matrix(T, n), matrix(T, n, new Float32Array(T * n))];
    const [y] = twice(() => [gatedMlp(x, residual, { gate: of(gate), up: of(up), down: of(down) }, null, T)]);
    expect(outliersOf(cuda(), down!)?.count).toBe(COUNT);
    // Both take the same codes of x.
    expect([gate!, up!].map((weight) => outliersOf(cuda(), weight)?.count)).toEqual([COUNT, undefined]);
    const chosenBy = (weight: tf.Tensor) => {
      const chosen = new Int32Array(COUNT);
      cuda().readFrom(outliersOf(cuda(), weight)!.channels, chosen);
      return new Set(chosen);
    };
    const ofX = e4m3RowsReference(x.dataSync() as Float32Array, n, chosenBy(gate!));
    const [g, u] = [0, 1].map((k) =>
      Float32Array.from(times(ofX, T, e4m3WeightReference(w[k]!), [channels, n]), roundToBf16),
    );
    const h = g!.map((value, at) => roundToBf16((value / (1 + Math.exp(-value))) * u![at]!));
    const codes = e4m3WeightReference(w[2]!);
    // What a tensor core cuts off of its addends is a part of the greatest: half a percent where a few are far above the others. Codes are compared in
    // e4m3-row-scale.test.ts.
    const expected = times(e4m3RowsReference(h, channels, chosenBy(down!)), T, codes, [n, channels]);
    expect(distance(y!, expected)).toBeLessThan(1.5e-2);
    tf.dispose([gate!, up!, down!, x, residual]);
  });

  it('are chosen before a step is recorded, whose bits are those of steps that are launched', () => {
    const [T, n] = [21, 64];
    const steps = createStepRecorder({ notify: (message) => expect.fail(message) })!;
    const weight = stored(48, n, numbers(48 * n, 0.05));
    const scale = tf.tensor1d(new Float32Array(n).fill(1));
    const work = ({ x }: StepInputs) =>
      tf.tidy(() => {
        const input = tf.tensor2d(x as Float32Array, [T, n]);
        const inBf16 = tf.engine().makeTensorFromTensorInfo(cuda().as(input, 'bf16')) as tf.Tensor2D;
        return [linear(rmsNorm(inBf16, scale, 1e-5) as tf.Tensor2D, weight)];
      });
    const inputs = Array.from({ length: 6 }, () => rowsWithOutliers(T, n));
    const replayed = inputs.map((x) => {
      const [y] = steps.run('outliers', { x }, work);
      const values = y!.dataSync();
      y!.dispose();
      return values;
    });
    expect(steps.counts.replayed).toBeGreaterThan(2);
    steps.dispose();
    const launched = inputs.map((x) => {
      const [y] = work({ x });
      const values = y!.dataSync();
      y!.dispose();
      return values;
    });
    expect(replayed).toEqual(launched);
    tf.dispose([weight, scale]);
  });

  it('take as many bytes of each row, and are refused where they are no multiple of 16, more than half of the inputs, or rows have no scales', () => {
    tf.tidy(() => storeAs(matrix(16, 16), 'fp8'));
    const before = cuda().memoryPool.bytes;
    const weight = stored(48, 80, numbers(48 * 80));
    expect(cuda().memoryPool.bytes - before).toBe(48 * 96 + 16);
    weight.dispose();
    expect(cuda().memoryPool.bytes).toBe(before);
    const { bytes } = cuda().memoryPool;
    const plain = matrix(16, 64);
    for (const outlierChannels of [8, -16, 256, 1.5])
      expect(() => storeAs(plain, 'fp8', { outlierChannels })).toThrow('must be a multiple of 16 from 0 to 240');
    expect(() => storeAs(plain, 'fp8', { outlierChannels: 48 })).toThrow(
      'outlierChannels is 48, of 64 input channels: at most half of them can be outliers',
    );
    const scales = vi.spyOn(cuda(), 'scalesRows', 'get').mockReturnValue(false);
    expect(() => storeAs(plain, 'fp8', { outlierChannels: 16 })).toThrow('leave fp8_outlier_channels out');
    scales.mockRestore();
    plain.dispose();
    expect(cuda().memoryPool.bytes).toBe(bytes);
  });

  it('are 128 where it is left to the form, and none where a matrix or the GPU cannot have them', () => {
    const columnsOf = (inputs: number) => {
      const weight = tf.tidy(() => storeAs(matrix(16, inputs), 'fp8', { outlierChannels: 'auto' }));
      const columns = inputs + codebookOf(cuda(), weight).outliers;
      expect(formBytes('fp8', [16, inputs], { outlierChannels: 'auto' })).toBe(16 * columns + 4);
      weight.dispose();
      return columns;
    };
    expect([240, 256, 264].map(columnsOf)).toEqual([240, 256 + 128, 264]);
    const scales = vi.spyOn(cuda(), 'scalesRows', 'get').mockReturnValue(false);
    expect(columnsOf(256)).toBe(256);
    scales.mockRestore();
  });
});
