/**
 * @file Products of codes at sizes at which Hopper has a kernel of ours for them, beside sums in double precision. Ops that use it are code-ops.test.ts's.
 */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { cuda, describeCuda } from '../../test/cuda.js';
import { distance, matrix, numbers, randomCodes } from '../../test/e4m3.js';
import { withMultiprocessors } from '../../test/few-multiprocessors.js';
import type { LowRank } from './product.js';

interface Case {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Codes from row to row of a. */
  readonly lda?: number;
  readonly added?: boolean;
  /** Of a branch: its rank, columns of all branches' h, where its own begin, and how w lies. */
  readonly branch?: { readonly rank: number; readonly all: number; readonly at: number };
  /** Whether it is turned, in heads of 128. */
  readonly turned?: boolean;
}

type Two = [Float32Array, Float32Array];
type Five = [number, number, number, number, number];

/** d of a product through the backend, and in double precision. */
function both({
  m,
  n,
  k,
  lda = k,
  added = false,
  branch,
  turned = false,
}: Case): [got: Float32Array, expected: Float64Array] {
  const backend = cuda();
  const [a, b] = [randomCodes(m * lda), randomCodes(n * k)];
  const c = numbers(m * n, 2 ** 12);
  const scales = Float32Array.from({ length: m }, (_, row) => 2 ** -((row % 5) + 1));
  const [alpha, scaling] = [0.5, 3];
  const { rank = 0, all = 0, at = 0 } = branch ?? {};
  const [x, w] = [numbers(m * all, 64), numbers(n * rank, 64)];
  const upload = (bytes: ArrayBufferView, shape: number[], physical: 'bool' | 'f32') => {
    const dtype = physical === 'bool' ? 'bool' : 'float32';
    const tensor = backend.output(shape, dtype);
    backend.uploadTo(backend.address(tensor), bytes);
    return tensor;
  };
  const angles = [Math.cos, Math.sin].map((of) => Float32Array.from({ length: 64 * m }, (_, n) => of(n))) as Two;
  const tensors = [
    ...[upload(a.bytes, [m, lda], 'bool'), upload(b.bytes, [n, k], 'bool'), upload(scales, [m], 'f32')],
    ...angles.map((values) => upload(values, [m, 64], 'f32')),
  ];
  const [ofA, ofB, ofScales, cos, sin] = tensors.map((tensor) => backend.address(tensor)) as Five;
  const halves = [
    matrix(m, n, c),
    matrix(m, Math.max(8, all), all ? x : undefined),
    matrix(n, Math.max(8, rank), rank ? w : undefined),
  ];
  const d = halves[0]!;
  const lowRank: LowRank | undefined = branch && {
    ...{ rank, scaling, x: backend.address(halves[1]!) + 2 * at, ldx: all, w: backend.address(halves[2]!) },
  };
  const byRow = backend.scalesRows;
  let got: Float32Array;
  try {
    backend.multiply({
      ...{ m, n, k, transposeB: true, type: 'e4m3', outputType: 'bf16', alpha, beta: added ? 1 : 0 },
      ...{ a: ofA, b: ofB, d: backend.address(d), lda, scaleA: ofScales, scaledByRow: byRow, lowRank },
      ...(turned && { turn: { cos, sin } }),
    });
    got = d.dataSync() as Float32Array;
  } finally {
    for (const tensor of tensors) backend.release(tensor);
    tf.dispose(halves);
  }
  const expected = new Float64Array(m * n);
  for (let row = 0; row < m; row++) {
    const scale = alpha * scales[byRow ? row : 0]!;
    for (let column = 0; column < n; column++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += a.values[row * lda + i]! * b.values[column * k + i]!;
      let low = 0;
      for (let i = 0; i < rank; i++) low += x[row * all + at + i]! * w[column * rank + i]!;
      expected[row * n + column] = scale * sum + scaling * low + (added ? c[row * n + column]! : 0);
    }
    if (turned) turnRow(expected.subarray(row * n, (row + 1) * n), angles, row);
  }
  return [got, expected];
}

/** Heads of 128 numbers turned by the angles of a row. */
function turnRow(heads: Float64Array, [cosines, sines]: Two, row: number): void {
  for (let first = 0; first < heads.length; first += 128) {
    for (let i = 0; i < 64; i++) {
      const [a, b, cosine, sine] = [
        heads[first + i]!,
        heads[first + 64 + i]!,
        cosines[64 * row + i]!,
        sines[64 * row + i]!,
      ];
      heads[first + i] = a * cosine - b * sine;
      heads[first + 64 + i] = b * cosine + a * sine;
    }
  }
}

describeCuda('large products of codes', () => {
  withMultiprocessors(4);

  it.for<Case>([
    { m: 520, n: 272, k: 144, branch: { rank: 32, all: 96, at: 32 } },
    { m: 520, n: 272, k: 144, added: true, branch: { rank: 8, all: 8, at: 0 } },
    { m: 520, n: 272, k: 128, branch: { rank: 72, all: 80, at: 8 } },
    // Parts of tiles and of stages, rows of codes that are apart, and more numbers than one tile of each block.
    { m: 513, n: 512, k: 272, lda: 304, added: true, branch: { rank: 32, all: 32, at: 0 } },
    { m: 1030, n: 496, k: 128, branch: { rank: 24, all: 24, at: 0 } },
  ])('add a branch: %j', (of, { skip }) => {
    if (!cuda().hasOwnProduct(of.m, of.n, of.k)) return skip('no product of this GPU adds branches');
    const { kernels } = cuda().launches;
    const [got, expected] = both(of);
    expect(distance(got, expected)).toBeLessThan(3e-3);
    expect(cuda().launches.kernels).toBe(kernels + 1);
  });

  it.for<Case>([
    { m: 520, n: 512, k: 144, branch: { rank: 32, all: 96, at: 32 }, turned: true },
    { m: 513, n: 384, k: 144, branch: { rank: 72, all: 80, at: 8 }, turned: true },
  ])('turn what they give, with its branch: %j', (of, { skip }) => {
    if (!cuda().hasOwnProduct(of.m, of.n, of.k)) return skip('no product of this GPU turns what it gives');
    const [got, expected] = both(of);
    expect(distance(got, expected)).toBeLessThan(3e-3);
  });

  it('refuse to add a branch that nobody would add', () => {
    const branch = { rank: 8, all: 8, at: 0 };
    expect(() => both({ m: 16, n: 16, k: 16, branch })).toThrow('cannot be added');
  });
});
