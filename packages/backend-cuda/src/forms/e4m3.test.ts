/** @file Frozen matrices in E4M3: what they are, products with them, and that everything else takes them for the numbers they stand for. */
import {
  type ChannelSelection,
  doraNorms,
  type FrozenLayer,
  gatedMlp,
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
import { afterAll, expect, it } from 'vitest';
import {
  e4m3RowsReference,
  e4m3WeightReference,
  e4m3WeightScale,
  roundToE4m3,
} from '../../../sparse-ops/src/engine/e4m3.reference.js';
import { bf16Tensor, random, roundToBf16, SEED } from '../../test/compare.js';
import { cuda, describeCuda, emulated } from '../../test/cuda.js';
import { restartCuda } from '../index.js';
import type { E4m3Codebook } from './e4m3.js';

const next = random(SEED);
const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
/** Normal numbers that bf16 has. */
const numbers = (count: number, size = 1) => Float32Array.from({ length: count }, () => roundToBf16(size * normal()));
const matrix = (rows: number, columns: number, values = numbers(rows * columns)) =>
  bf16Tensor([...values], [rows, columns]) as tf.Tensor2D;
const selection = (indices: number[], total: number): ChannelSelection => ({
  indices: tf.tensor1d(indices, 'int32'),
  kept: indices.length,
  total,
});

/** x·Wᵀ, or x·W, of plain numbers in double precision. */
function times(
  x: ArrayLike<number>,
  rows: number,
  w: ArrayLike<number>,
  [out, inputs]: [number, number],
  transposed = false,
): number[] {
  const [inner, n] = transposed ? [out, inputs] : [inputs, out];
  return Array.from({ length: rows * n }, (_, at) => {
    const [t, j] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let i = 0; i < inner; i++) sum += x[t * inner + i]! * w[transposed ? i * inputs + j : j * inputs + i]!;
    return sum;
  });
}

/** ‖a − b‖ / ‖b‖. */
function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let n = 0; n < b.length; n++) {
    difference += (a[n]! - b[n]!) ** 2;
    norm += b[n]! ** 2;
  }
  expect(a.length).toBe(b.length);
  return Math.sqrt(difference / norm);
}

/** Runs `f` twice: the same bits, and nothing left on the device. */
function twice(f: () => tf.Tensor[]): Float32Array[] {
  const run = () => {
    const results = tf.tidy(f);
    const values = results.map((result) => result.dataSync() as Float32Array);
    tf.dispose(results);
    return values;
  };
  const first = run();
  const held = cuda().memoryPool.bytes;
  expect(run()).toEqual(first);
  expect(cuda().memoryPool.bytes).toBe(held);
  return first;
}

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
    expect(distance(dx!, times(e4m3RowsReference(dy, out), T, codes, [out, inputs], true))).toBeLessThan(3e-3);
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

  it.each([
    ['all rows dense', 11, 11],
    ['some sparse', 40, 12],
    ['kept numbers of channels that are no multiple of 16', 40, 12],
  ])('make one product of several layers and one scale for what their gradients are a row: %s', (what, T, D) => {
    const outs = [48, 32, 32];
    const counts = what.startsWith('kept') ? [24, 8, 16] : [32, 16, 16];
    const w = outs.map((out) => numbers(out * 64, 0.05));
    const dy = outs.map((out, n) => numbers(T * out, 4 ** -n));
    const x = matrix(T, 64);
    const weights = w.map((values, n) => storeAs(matrix(outs[n]!, 64, values), 'fp8'));
    const dys = dy.map((values, n) => matrix(T, outs[n]!, values));
    const indices = counts.map((count, n) =>
      Array.from({ length: count }, (_, i) => i + (i > 3 ? outs[n]! - count : 0)),
    );
    const keeps = indices.map((of, n) => (D < T ? selection(of, outs[n]!) : null));
    const layers = weights.map((weight, n) => ({ weight, bias: null, keep: keeps[n]!, lora: null }));
    const gradient = tf.grad((x) => {
      const ys = projectRows(x as tf.Tensor2D, layers, D);
      return ys.map((y, n) => y.mul(dys[n]!).sum()).reduce((a, b) => a.add(b)) as tf.Scalar;
    });
    const before = cuda().masksBelow;
    cuda().masksBelow = 0;
    const [dx] = twice(() => [gradient(x)]);
    const profile = cuda().profile(() => gradient(x).dispose());
    const products = profile
      .filter(({ name }) => name.startsWith('product'))
      .reduce((sum, { calls }) => sum + calls, 0);
    cuda().masksBelow = before;
    // Forward three of dense rows, and one of sparse rows; backward one of each.
    expect(products).toBe(D < T ? 6 : 4);
    // The codes of all gradients of a row share its scale; of sparse rows those of kept channels.
    const codes = w.map((values) => e4m3WeightReference(values));
    const expected = new Float64Array(T * 64);
    for (let t = 0; t < T; t++) {
      const kept = outs.map((out, n) => (t < D ? Array.from({ length: out }, (_, o) => o) : indices[n]!));
      const row = kept.flatMap((of, n) => of.map((o) => dy[n]![t * outs[n]! + o]!));
      const quantised = e4m3RowsReference(Float32Array.from(row), row.length);
      let at = 0;
      for (const [n, of] of kept.entries()) {
        for (const o of of) {
          for (let i = 0; i < 64; i++) expected[64 * t + i]! += quantised[at]! * codes[n]![64 * o + i]!;
          at++;
        }
      }
    }
    expect(distance(dx!, expected)).toBeLessThan(4e-3);
    tf.dispose([x, ...weights, ...dys, ...keeps.flatMap((keep) => keep?.indices ?? [])]);
  });

  /** Layers whose gradients are compared with those of the same ops on `cpu` with the numbers that codes stand for. */
  const spanning: Record<string, (T: number, D: number, sparse: boolean) => Promise<void>> = {
    projectRows: (T, D, sparse) =>
      compared(
        [
          [T, 64],
          [48, 64],
          [32, 64],
          [8, 64],
          [48, 8],
        ],
        ([x, w1, w2, a, b], keeps) => {
          const lora = { a: a!, b: b!, scaling: 0.5 };
          const layers: FrozenLayer[] = [
            { weight: w1!, bias: null, keep: sparse ? keeps[0]! : null, lora },
            { weight: w2!, bias: null, keep: sparse ? keeps[1]! : null, lora: null },
          ];
          return projectRows(x!, layers, D);
        },
        [48, 32],
      ),
    projectColumns: (T, D, sparse) =>
      compared(
        [
          [T, 64],
          [48, 64],
          [48, 64],
          [8, 64],
          [48, 8],
        ],
        ([x, w1, , a, b], keeps, residual) => {
          const layer = {
            weight: w1!,
            bias: null,
            keep: sparse ? keeps[0]! : null,
            lora: { a: a!, b: b!, scaling: 0.5 },
          };
          return [projectColumns(x!, residual, layer, D)];
        },
        [64],
        [T, 48],
      ),
    gatedMlp: (T, D, sparse) =>
      compared(
        [
          [T, 64],
          [96, 64],
          [96, 64],
          [64, 96],
        ],
        ([x, gate, up, down], keeps, residual) => {
          const weights = {
            gate: { weight: gate!, bias: null },
            up: { weight: up!, bias: null },
            down: { weight: down!, bias: null },
          };
          return [gatedMlp(x!, residual, weights, sparse ? keeps[0]! : null, sparse ? D : T)];
        },
        [96],
        [T, 64],
      ),
  };

  type Op = (tensors: tf.Tensor2D[], keeps: ChannelSelection[], residual: tf.Tensor2D) => tf.Tensor[];

  /** @param totals channels of each selection, of which 16 are kept. */
  async function compared(
    shapes: [number, number][],
    op: Op,
    totals: number[],
    residualShape: [number, number] = [1, 1],
  ): Promise<void> {
    const values = shapes.map(([rows, columns], n) => numbers(rows * columns, n === 0 ? 1 : 0.1));
    const ofResidual = numbers(residualShape[0] * residualShape[1]);
    const weights = shapes.map(([, columns], n) => n > 0 && columns > 8 && shapes[n]![0] > 8);
    const gradientsOf = (made: tf.Tensor2D[], residual: tf.Tensor2D) => {
      const keeps = totals.map((total) =>
        selection(
          Array.from({ length: 16 }, (_, n) => Math.floor((n * total) / 16)),
          total,
        ),
      );
      // x and the branch, which get gradients; frozen ones stay as they are.
      const trained = made.flatMap((_, n) => (weights[n] ? [] : [n]));
      const f = (...given: tf.Tensor[]) => {
        const all = made.map((tensor, n) => (weights[n] ? tensor : (given[trained.indexOf(n)] as tf.Tensor2D)));
        const ys = op(all, keeps, residual);
        return ys.map((y) => y.square().sum()).reduce((a, b) => a.add(b)) as tf.Scalar;
      };
      return [...op(made, keeps, residual), ...tf.grads(f)(trained.map((n) => made[n]!))];
    };
    const plain = (place: number) => (weights[place] ? e4m3WeightReference(values[place]!) : values[place]!);
    await tf.setBackend('cpu');
    const expected = tf.tidy(() =>
      gradientsOf(
        shapes.map((shape, n) => tf.tensor2d(plain(n), shape)),
        tf.tensor2d(ofResidual, residualShape),
      ).map((t) => t.dataSync() as Float32Array),
    );
    await tf.setBackend('cuda');
    const made = shapes.map(([rows, columns], n) => {
      if (n > 0 && !weights[n]) return tf.tensor2d(values[n]!, [rows, columns]);
      const tensor = matrix(rows, columns, values[n]!);
      return weights[n] ? storeAs(tensor, 'fp8') : tensor;
    });
    const residual = matrix(...residualShape, ofResidual);
    const actual = twice(() => gradientsOf(made, residual));
    actual.forEach((values, n) => {
      expect(distance(values, expected[n]!), `result ${n}`).toBeLessThan(0.1);
    });
    tf.dispose([...made, residual]);
  }

  it.each(
    Object.keys(spanning).flatMap(
      (op) =>
        [
          [op, 21, 21, false],
          [op, 40, 12, true],
          [op, 41, 13, true],
          [op, 16, 0, true],
        ] as const,
    ),
  )('%s of %i rows, %i of them dense, sparse: %s', (op, T, D, sparse) => spanning[op]!(T, D, sparse));
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
    const quantised = e4m3RowsReference(x, T * inputs);
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
