/** @file Gradients of codes by the kernel of ours that takes matrices as they lie, beside sums in double precision. Ops that use it are code-ops.test.ts's. */
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { cuda, describeCuda } from '../../test/cuda.js';
import { distance, matrix, numbers, randomCodes } from '../../test/e4m3.js';
import { withMultiprocessors } from '../../test/few-multiprocessors.js';
import { CodeGradients } from './code-gradients.js';

interface Case {
  readonly rows: number;
  readonly inputs: number;
  /** Rows of each matrix. */
  readonly ks: readonly number[];
  /** Codes behind each row of the matrices, and of dy. */
  readonly behind?: number;
  readonly rank?: number;
}

/** dx through the backend, and in double precision. */
function both({ rows, inputs, ks, behind = 0, rank = 0 }: Case): [Float32Array, Float64Array] {
  const backend = cuda();
  const inner = ks.reduce((sum, k) => sum + k, 0);
  const [stride, ofDy] = [inputs + behind, inner + behind];
  const dy = randomCodes(rows * ofDy);
  const matrices = ks.map((k) => randomCodes(k * stride));
  const scales = Float32Array.from({ length: rows }, (_, row) => 2 ** -((row % 5) + 1));
  const alpha = 0.5;
  const [x, w] = [numbers(rows * rank, 64), numbers(rank * inputs, 64)];
  const held: tf.TensorInfo[] = [];
  const upload = (bytes: Uint8Array | Float32Array) => {
    const tensor = backend.output([bytes.length], bytes instanceof Uint8Array ? 'bool' : 'float32');
    held.push(tensor);
    backend.uploadTo(backend.address(tensor), bytes);
    return backend.address(tensor);
  };
  const [d, ofX, ofW] = [
    matrix(rows, inputs),
    matrix(rows, Math.max(1, rank), rank ? x : undefined),
    rank ? matrix(rank, inputs, w) : null,
  ];
  const made = backend.multiplyGradient({
    ...{ rows, inputs, dy: { codes: upload(dy.bytes), stride: ofDy }, scales: upload(scales), scaledByRow: true },
    matrices: matrices.map(({ bytes }, n) => ({ codes: upload(bytes), k: ks[n]!, stride })),
    ...{ alpha, d: backend.address(d) },
    ...(ofW && {
      lowRank: { rank, scaling: 1, x: backend.address(ofX), ldx: rank, w: backend.address(ofW) },
    }),
  });
  expect(made).toBe(true);
  const got = d.dataSync() as Float32Array;
  for (const tensor of held) backend.release(tensor);
  tf.dispose([d, ofX, ...(ofW ? [ofW] : [])]);
  const expected = new Float64Array(rows * inputs);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < inputs; column++) {
      let [sum, from] = [0, row * ofDy];
      matrices.forEach(({ values }, n) => {
        for (let i = 0; i < ks[n]!; i++) sum += dy.values[from++]! * values[i * stride + column]!;
      });
      let low = 0;
      for (let i = 0; i < rank; i++) low += x[row * rank + i]! * w[i * inputs + column]!;
      const at = row * inputs + column;
      expected[at] = alpha * scales[row]! * sum + low;
    }
  }
  return [got, expected];
}

describeCuda('gradients of codes whose matrices are taken as they lie', () => {
  withMultiprocessors(4);
  beforeEach(() => {
    vi.spyOn(CodeGradients.prototype, 'pays').mockReturnValue(true);
  });
  afterEach(() => {
    vi.restoreAllMocks();
  });

  it.for<Case>([
    { rows: 512, inputs: 256, ks: [128] },
    // Parts of tiles and of stages, of which the second matrix begins within one; behind rows are outliers' columns.
    { rows: 523, inputs: 272, ks: [144], behind: 16 },
    { rows: 1030, inputs: 496, ks: [272, 16, 160], behind: 32 },
    { rows: 513, inputs: 512, ks: [400, 112] },
    { rows: 520, inputs: 272, ks: [144], rank: 32 },
    { rows: 520, inputs: 272, ks: [144, 64, 64], rank: 96 },
    { rows: 523, inputs: 272, ks: [128], rank: 8, behind: 16 },
    { rows: 523, inputs: 272, ks: [128], rank: 72 },
  ])('are what sums in double precision are: %j', (of, { skip }) => {
    const inner = of.ks.reduce((sum, k) => sum + k, 0);
    if (!cuda().takesGradient(of.rows, of.inputs, inner)) return skip('no kernel of this GPU takes them so');
    const { kernels } = cuda().launches;
    const [got, expected] = both(of);
    expect(distance(got, expected)).toBeLessThan(3e-3);
    expect(cuda().launches.kernels).toBe(kernels + 1);
  });
});
