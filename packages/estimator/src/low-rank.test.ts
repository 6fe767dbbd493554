import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { buildPredictor, type LowRank } from './low-rank.js';
import { randomNormals } from './random.js';

const gaussian = (out: number, inputs: number, seed = 1) =>
  tf.tensor2d(randomNormals(out * inputs, seed), [out, inputs]);

/** U·diag(σ)·Vᵀ with orthonormal U, V of a Gaussian's Gram–Schmidt, on the host. */
function withSpectrum(out: number, inputs: number, sigma: (i: number) => number): tf.Tensor2D {
  const orthonormalRows = (count: number, n: number, seed: number) => {
    const rows = Array.from({ length: count }, (_, i) => Float64Array.from(randomNormals(n, seed + i)));
    rows.forEach((row, i) => {
      for (let pass = 0; pass < 2; pass++) {
        for (const other of rows.slice(0, i)) {
          const along = row.reduce((sum, v, j) => sum + v * other[j]!, 0);
          row.forEach((_, j) => {
            row[j]! -= along * other[j]!;
          });
        }
      }
      const norm = Math.hypot(...row);
      row.forEach((_, j) => {
        row[j]! /= norm;
      });
    });
    return rows;
  };
  const n = Math.min(out, inputs);
  const [u, v] = [orthonormalRows(n, out, 100), orthonormalRows(n, inputs, 900)];
  const w = new Float32Array(out * inputs);
  for (let o = 0; o < out; o++) {
    for (let i = 0; i < inputs; i++) {
      let sum = 0;
      for (let s = 0; s < n; s++) sum += u[s]![o]! * sigma(s) * v[s]![i]!;
      w[o * inputs + i] = sum;
    }
  }
  return tf.tensor2d(w, [out, inputs]);
}

const product = ({ a, b }: LowRank) => tf.tidy(() => tf.matMul(a, b));
function relativeDistance(found: LowRank, exact: LowRank): number {
  return tf.tidy(() => {
    const [x, y] = [product(found), product(exact)];
    return tf.div(tf.norm(tf.sub(x, y)), tf.norm(y)).dataSync()[0]!;
  });
}

describe.each(TEST_BACKENDS)('buildPredictor() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    [24, 40],
    [40, 24],
    [24, 24],
  ])('splits the known decomposition of a [%i, %i] weight evenly', async (out, inputs) => {
    const w = withSpectrum(out, inputs, (i) => 10 / (i + 1));
    const { a, b } = await buildPredictor(w, 4);
    expect([a.shape, b.shape]).toEqual([
      [inputs, 4],
      [4, out],
    ]);
    // AᵀA = B·Bᵀ = diag(σ).
    const diagonal = tf.diag(tf.tensor1d([10, 5, 10 / 3, 2.5]));
    expectAllClose('AᵀA', tf.matMul(a, a, true), diagonal);
    expectAllClose('BBᵀ', tf.matMul(b, b, false, true), diagonal);
    // The residual Wᵀ − A·B holds the other singular values.
    const rest = tf.norm(tf.sub(tf.transpose(w), tf.matMul(a, b))).dataSync()[0]!;
    const expected = Math.hypot(...Array.from({ length: 20 }, (_, i) => 10 / (i + 5)));
    expect(rest).toBeCloseTo(expected, 4);
  });

  it.each([
    ['gaussian, wide', () => gaussian(96, 160)],
    ['gaussian, tall', () => gaussian(200, 120)],
    ['gaussian, square', () => gaussian(128, 128)],
    ['slowly decaying', () => withSpectrum(80, 64, (i) => 0.99 ** i)],
    ['fast decaying', () => withSpectrum(80, 64, (i) => 0.3 ** i)],
    ['nearly flat', () => withSpectrum(64, 80, (i) => 1 - i * 1e-3)],
    ['gaussian, with a restart', () => gaussian(280, 300)],
    ['of rank 3 alone', () => withSpectrum(70, 90, (i) => (i < 3 ? 3 - i : 0))],
  ])('finds the exact truncation by the Krylov method within 1e-3: %s', async (_, weight) => {
    const w = weight();
    const exact = await buildPredictor(w, 8, { exactUpTo: Number.POSITIVE_INFINITY });
    const krylov = await buildPredictor(w, 8, { exactUpTo: 0 });
    expect(relativeDistance(krylov, exact)).toBeLessThan(1e-3);
  });

  it('has zeros for a weight of zeros', async () => {
    for (const exactUpTo of [0, 64]) {
      const { a, b } = await buildPredictor(tf.zeros([30, 20]), 4, { exactUpTo });
      expectAllClose('a', a, new Float32Array(80));
      expectAllClose('b', b, new Float32Array(120));
    }
  });

  it('gives the same numbers for the same weight', async () => {
    const w = gaussian(60, 50);
    for (const exactUpTo of [0, 64]) {
      const [one, two] = [await buildPredictor(w, 5, { exactUpTo }), await buildPredictor(w, 5, { exactUpTo })];
      expect(one.a.dataSync()).toEqual(two.a.dataSync());
      expect(one.b.dataSync()).toEqual(two.b.dataSync());
    }
  });

  it('leaves its two factors and nothing else', async () => {
    const w = gaussian(60, 50);
    for (const exactUpTo of [0, 64]) await expectNoLeak(() => buildPredictor(w, 5, { exactUpTo }), 2);
  });

  it('refuses a rank that the weight cannot have, and weights that are not finite', async () => {
    await expect(buildPredictor(gaussian(6, 9), 7)).rejects.toThrow(
      'rank must be a whole number from 1 to 6 for a weight [6,9], got 7',
    );
    await expect(buildPredictor(gaussian(6, 9), 0)).rejects.toThrow('got 0');
    for (const exactUpTo of [0, 64]) {
      const broken = tf.tensor2d(
        Float32Array.from({ length: 54 }, (_, i) => (i === 7 ? Number.NaN : i)),
        [6, 9],
      );
      const before = tf.memory().numTensors;
      await expect(buildPredictor(broken, 2, { exactUpTo })).rejects.toMatchObject({
        code: 'SPFT_PREDICTOR',
        message: expect.stringContaining('not finite'),
      });
      expect(tf.memory().numTensors).toBe(before);
    }
  });
});
