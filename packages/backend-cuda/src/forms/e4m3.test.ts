/** @file Frozen matrices in E4M3: what they are, products with them, and that everything else takes them for the numbers they stand for. */
import {
  doraNorms,
  linear,
  linearKeptColumns,
  linearKeptRows,
  projectColumns,
  projectRows,
  rmsNormResidual,
  storeAs,
  storedLike,
} from '@spft/sparse-ops';
import { formOf } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { afterAll, expect, it, vi } from 'vitest';
import {
  e4m3GradientRowsReference,
  e4m3RowsReference,
  e4m3WeightReference,
  e4m3WeightScale,
  roundToE4m3,
} from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { cuda, describeCuda, emulated } from '../../test/cuda.js';
import { distance, matrix, numbers, selection, times, twice } from '../../test/e4m3.js';
import { restartCuda } from '../index.js';
import type { E4m3Codebook } from './e4m3.js';

describeCuda('frozen matrices in e4m3', () => {
  it.each([
    ['as most weights are', 0.05],
    ['of small numbers', 1e-5],
    ['of large ones', 3000],
  ])('have the nearest numbers that a code stands for, %s', (_, size) => {
    // What all products on codes share is made with the first matrix.
    tf.tidy(() => storeAs(matrix(16, 16), 'fp8'));
    const before = cuda().memoryPool.bytes;
    const values = numbers(48 * 80, size);
    const plain = matrix(48, 80, values);
    const stored = storeAs(plain, 'fp8');
    plain.dispose();
    expect(cuda().physical(stored)).toBe('e4m3');
    const clone = stored.clone();
    expect([formOf(stored), formOf(clone), formOf(plain)]).toEqual(['fp8', 'fp8', null]);
    clone.dispose();
    expect((cuda().codebook(stored) as E4m3Codebook).scale).toBe(e4m3WeightScale(values));
    expect(stored.dataSync()).toEqual(e4m3WeightReference(values));
    // Codes and a scale.
    expect(cuda().memoryPool.bytes - before).toBe(48 * 80 + 16);
    stored.dispose();
    expect(cuda().memoryPool.bytes).toBe(before);
  });

  it('round every number as the oracle does, ties to even, and none beyond 448', () => {
    const values = [
      0,
      -0,
      2 ** -10,
      3 * 2 ** -10,
      2 ** -9,
      0.0166,
      0.9375,
      1.0625,
      1.1875,
      -17,
      18,
      19,
      431,
      432,
      433,
      448,
      224,
    ];
    const scaled = values.map((x) => x * 2 ** -7);
    const row = Float32Array.from({ length: 32 }, (_, n) => scaled[n % scaled.length]!);
    const stored = tf.tidy(() => storeAs(tf.tensor2d(row, [2, 16]), 'fp8'));
    expect([...stored.dataSync()]).toEqual([...row].map((x) => roundToE4m3(x * 2 ** 7) * 2 ** -7));
    stored.dispose();
  });

  it('refuse numbers that are not finite', () => {
    const broken = tf.tensor2d([1, Number.NaN, 3, 4], [2, 2]);
    expect(() => storeAs(broken, 'fp8')).toThrow('numbers that are not finite');
    broken.dispose();
  });

  it.each([
    [7, 32, 48],
    [130, 256, 144],
    [5, 64, 64],
    // Few rows are multiplied as they are: cuda/gemv.cu.
    [3, 32, 48],
    [1, 64, 64],
  ])('multiply %i rows, quantised row by row where there are more than four', (T, inputs, out) => {
    const [x, w, dy] = [numbers(T * inputs), numbers(out * inputs, 0.05), numbers(T * out)];
    const tensors = [matrix(T, inputs, x), storeAs(matrix(out, inputs, w), 'fp8'), matrix(T, out, dy)] as const;
    const [y, dx] = twice(() => {
      const f = (x: tf.Tensor) => linear(x as tf.Tensor2D, tensors[1]) as tf.Tensor;
      return [f(tensors[0]), tf.grad(f)(tensors[0], tensors[2])];
    });
    const codes = e4m3WeightReference(w);
    const rows = T > 4 ? e4m3RowsReference(x, inputs) : x;
    expect(distance(y!, times(rows, T, codes, [out, inputs]))).toBeLessThan(3e-3);
    expect(distance(dx!, times(e4m3GradientRowsReference(dy, out), T, codes, [out, inputs], true))).toBeLessThan(3e-3);
    // What FP8 costs beside the numbers themselves.
    expect(distance(y!, times(x, T, w, [out, inputs]))).toBeLessThan(6e-2);
    tf.dispose([...tensors]);
  });

  it('multiply where a side is no multiple of 16, unpacked', () => {
    const [x, w] = [numbers(5 * 24), numbers(20 * 24, 0.05)];
    const tensors = [matrix(5, 24, x), storeAs(matrix(20, 24, w), 'fp8')] as const;
    const [y] = twice(() => [linear(...tensors)]);
    expect(distance(y!, times(x, 5, e4m3WeightReference(w), [20, 24]))).toBeLessThan(3e-3);
    tf.dispose([...tensors]);
  });

  it('multiply by kept rows and by kept columns', () => {
    const [T, out, inputs] = [19, 64, 96];
    const w = numbers(out * inputs, 0.05);
    const weight = storeAs(matrix(out, inputs, w), 'fp8');
    const codes = e4m3WeightReference(w);
    for (const kept of [16, 21]) {
      const indices = Array.from({ length: kept }, (_, n) => 2 * n + 3);
      const keep = selection(indices, out);
      const x = numbers(T * inputs);
      const rows = Float32Array.from(indices.flatMap((row) => [...codes.subarray(row * inputs, (row + 1) * inputs)]));
      const input = matrix(T, inputs, x);
      const [y] = twice(() => [linearKeptRows(input, weight, keep)]);
      const quantised = kept % 16 === 0 ? e4m3RowsReference(x, inputs) : x;
      expect(distance(y!, times(quantised, T, rows, [kept, inputs]))).toBeLessThan(3e-3);

      const h = numbers(T * kept);
      const inner = matrix(T, kept, h);
      const keepColumns = { ...keep, total: inputs };
      const columns = Float32Array.from(
        { length: out * kept },
        (_, at) => codes[Math.floor(at / kept) * inputs + indices[at % kept]!]!,
      );
      const [z] = twice(() => [linearKeptColumns(inner, weight, keepColumns)]);
      const ofH = kept % 16 === 0 ? e4m3RowsReference(h, kept) : h;
      expect(distance(z!, times(ofH, T, columns, [out, kept]))).toBeLessThan(3e-3);
      tf.dispose([input, inner, keep.indices]);
    }
    weight.dispose();
  });

  it('are plain numbers to everything else', () => {
    const w = numbers(32 * 48, 0.05);
    const codes = e4m3WeightReference(w);
    const weight = storeAs(matrix(32, 48, w), 'fp8');
    tf.tidy(() => {
      expect(weight.mul(1).dataSync()).toEqual(codes);
      expect(weight.transpose().dataSync()).toEqual(tf.tensor2d(codes, [32, 48]).transpose().dataSync());
      expect(weight.slice([3, 0], [2, 48]).dataSync()).toEqual(codes.slice(3 * 48, 5 * 48));
      const merged = storedLike(weight.add(1e-3) as tf.Tensor2D, weight);
      expect([cuda().physical(merged), formOf(merged)]).toEqual(['bf16', null]);
      const [a, b] = [tf.randomNormal([4, 48]), tf.randomNormal([32, 4])] as [tf.Tensor2D, tf.Tensor2D];
      const norms = doraNorms(weight, a, b, 0.5).dataSync();
      const sum = tf.add(tf.tensor2d(codes, [32, 48]), b.mul(0.5).matMul(a));
      expect(distance(norms, sum.square().sum(1).sqrt().dataSync())).toBeLessThan(1e-2);
    });
    weight.dispose();
  });

  it('give no number where an input is none', () => {
    const weight = storeAs(matrix(16, 32, numbers(512, 0.05)), 'fp8');
    const values = numbers(5 * 32);
    values[32] = Number.POSITIVE_INFINITY;
    values[64] = Number.NaN;
    const x = matrix(5, 32, values);
    const [y] = twice(() => [linear(x, weight)]);
    expect(
      Array.from({ length: 5 }, (_, row) => [...y!.subarray(16 * row, 16 * row + 16)].every(Number.isNaN)),
    ).toEqual([false, true, true, false, false]);
    tf.dispose([x, weight]);
  });

  it('keep the transposed codes where that is wanted, for the same bits', () => {
    const w = matrix(32, 64, numbers(2048, 0.05));
    const dy = matrix(5, 32);
    const x = matrix(5, 64);
    const made = [false, true].map((keepTransposed) => {
      const weight = storeAs(w, 'fp8', { keepTransposed });
      const dx = tf.tidy(() =>
        tf
          .grad((x) => linear(x as tf.Tensor2D, weight) as tf.Tensor)(x, dy)
          .dataSync(),
      );
      const kept = cuda().derivedAddress(weight, 'transposed codes') !== 0;
      weight.dispose();
      return { dx, kept };
    });
    expect(made.map(({ kept }) => kept)).toEqual([false, true]);
    expect(made[1]!.dx).toEqual(made[0]!.dx);
    tf.dispose([w, dy, x]);
  });

  it('get the codes of norms and of their gradients from the kernels of these, for the same bits', () => {
    const [weight, up] = [storeAs(matrix(32, 64), 'fp8'), storeAs(matrix(64, 32), 'fp8')];
    const [x, dy, scale] = [matrix(9, 64), matrix(9, 64), tf.tensor1d(numbers(64))] as const;
    const layer = { weight: up, bias: null, keep: null, lora: null };
    /** @param between what is put after norms and before their gradients. */
    const run = (between: (x: tf.Tensor) => tf.Tensor) => {
      const block = (x: tf.Tensor) => {
        const [normed, residual] = rmsNormResidual(x as tf.Tensor2D, scale, 1e-5);
        return projectColumns(linear(between(normed) as tf.Tensor2D, weight), residual, layer, 9);
      };
      const gradient = tf.grad((x) => block(between(block(x))) as tf.Tensor);
      let dx = new Float32Array();
      const profile = cuda().profile(() => {
        dx = tf.tidy(() => gradient(x, dy).dataSync() as Float32Array<ArrayBuffer>);
      });
      return { dx, quantised: profile.find(({ name }) => name === 'quantise_rows')?.calls };
    };
    const [along, apart] = [run((x) => x), run((x) => tf.mul(x, 1))];
    expect(along.dx).toEqual(apart.dx);
    expect([along.quantised, apart.quantised]).toEqual([5, 8]);
    tf.dispose([weight, up, x, dy, scale]);
  });

  it('get no codes of a norm that is wanted again for the gradient of a branch', () => {
    const [weight, x, dy, scale] = [
      storeAs(matrix(32, 64), 'fp8'),
      matrix(9, 64),
      matrix(9, 32),
      tf.tensor1d(numbers(64)),
    ] as const;
    const [a, b] = [tf.variable(matrix(8, 64)), tf.variable(matrix(32, 8))] as [tf.Variable, tf.Variable];
    const step = () =>
      tf.tidy(() =>
        tf.variableGrads(() => {
          const [normed] = rmsNormResidual(x.mul(1) as tf.Tensor2D, scale, 1e-5);
          const lora = { a: a as tf.Tensor2D, b: b as tf.Tensor2D, scaling: 0.5 };
          const [y] = projectRows(normed, [{ weight, bias: null, keep: null, lora }], 9);
          return y!.mul(dy).sum() as tf.Scalar;
        }),
      );
    // That numbers are wanted beside codes is known from then on.
    step();
    const made = vi.spyOn(cuda(), 'derived');
    const profile = cuda().profile(step);
    // Of the first alone; the second is not made at all.
    expect(profile.find(({ name }) => name === 'rms_norm')?.calls).toBe(1);
    expect(made.mock.calls.filter(([, name]) => name === 'rows in e4m3').length).toBe(1);
    made.mockRestore();
    tf.dispose([weight, x, dy, scale, a, b]);
  });
});

describeCuda('frozen matrices in e4m3 on other GPUs', () => {
  const before = process.env.SPFT_EMULATOR_CAPABILITY;
  afterAll(async () => {
    if (before === undefined) delete process.env.SPFT_EMULATOR_CAPABILITY;
    else process.env.SPFT_EMULATOR_CAPABILITY = before;
    await restartCuda();
  });

  it.skipIf(!emulated)('have one scale for all rows where products have no others (Ada)', async () => {
    process.env.SPFT_EMULATOR_CAPABILITY = '8.9';
    await restartCuda();
    const [T, inputs, out] = [30, 64, 48];
    const [x, w] = [numbers(T * inputs), numbers(out * inputs, 0.05)];
    const tensors = [matrix(T, inputs, x), storeAs(matrix(out, inputs, w), 'fp8')] as const;
    const [y] = twice(() => [linear(...tensors)]);
    const quantised = e4m3GradientRowsReference(x, T * inputs);
    expect(distance(y!, times(quantised, T, e4m3WeightReference(w), [out, inputs]))).toBeLessThan(3e-3);
    tf.dispose([...tensors]);
  });

  it.skipIf(!emulated)('are refused on Ampere', async () => {
    process.env.SPFT_EMULATOR_CAPABILITY = '8.0';
    await restartCuda();
    const x = matrix(16, 16);
    expect(() => storeAs(x, 'fp8')).toThrow(
      'need a GPU of compute capability 8.9 or newer (Ada, Hopper, Blackwell); spft emulator has 8.0',
    );
    x.dispose();
  });
});
