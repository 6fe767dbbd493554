/**
 * @file Products of codes at sizes at which Hopper has a kernel of ours for them, beside sums in double precision; elsewhere cuBLASLt's pass the same tests. Branches that
 * such a product adds, beside the same ops that add them by kernels of their own.
 */
import {
  createStepRecorder,
  type FrozenLayer,
  gatedMlp,
  type PackedLayout,
  packTokens,
  projectColumns,
  projectRows,
  rmsNormResidual,
  ropeAttention,
  type StepInputs,
  storeAs,
} from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { cuda, describeCuda } from '../../test/cuda.js';
import { distance, matrix, numbers, randomCodes, selection, twice } from '../../test/e4m3.js';
import { CodeGradients } from './code-gradients.js';
import { CodeProducts } from './code-products.js';
import type { LowRank } from './product.js';

const isHopper = () => cuda().device.architecture === 'sm_90a';

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

type M = tf.Tensor2D;
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

/** Where there is no kernel of ours, ops go on as if there were one, and its products are made one after the other. */
function ownOrPlain(): void {
  if (isHopper()) return;
  const backend = cuda();
  const plain = backend.multiply.bind(backend);
  vi.spyOn(backend, 'hasOwnProduct').mockReturnValue(true);
  vi.spyOn(backend, 'multiply').mockImplementation(({ lowRank, turn, ...product }) => {
    plain(product);
    if (!lowRank) return;
    const { rank: k, scaling: alpha, x: a, ldx: lda, w: b } = lowRank;
    const { m, n, d, ldd } = product;
    plain({ m, n, k, a, b, d, lda, ldd, alpha, beta: 1, transposeB: true, type: 'bf16', outputType: 'bf16' });
    if (!turn) return;
    const rope = backend.kernel('rope', 'rope', 'ppppppiiiifi', { X: 'bf16' });
    backend.launch(rope, [m], [8 * (n / 128)], [d, 0, turn.cos, turn.sin, d, 0, m, n / 128, 0, 64, 1, 1]);
  });
  vi.spyOn(backend, 'takesGradient').mockReturnValue(true);
  vi.spyOn(backend, 'multiplyGradient').mockImplementation(({ rows: m, inputs: n, dy, matrices, ...of }) => {
    const { scales: scaleA, scaledByRow, alpha, d, ldd, beta = 0, lowRank } = of;
    if (beta !== 0) return false;
    const all = matrices.reduce((sum, { k }) => sum + k, 0);
    backend.scratch(all * n, (b) => {
      let to = b;
      for (const { codes, k, stride } of matrices) {
        const kernel = backend.kernel('transpose-bytes', 'transpose_bytes', 'pppiiii');
        backend.launch(kernel, [Math.ceil(n / 128), Math.ceil(k / 128)], [256], [codes, 0, to, k, n, stride, all]);
        to += k;
      }
      backend.multiply({
        ...{ m, n, k: all, transposeB: true, type: 'e4m3', outputType: 'bf16', alpha },
        ...{ a: dy.codes, lda: dy.stride, b, d, ldd, scaleA, scaledByRow },
      });
    });
    if (lowRank) {
      const { rank: k, x: a, ldx: lda, w } = lowRank;
      plain({ m, n, k, a, b: w, d, lda, ldd, beta: 1, type: 'bf16', outputType: 'bf16' });
    }
    return true;
  });
}

/** Makes what follows as where there is no kernel of ours. */
function withoutOwn(): void {
  vi.spyOn(cuda(), 'hasOwnProduct').mockReturnValue(false);
  vi.spyOn(cuda(), 'takesGradient').mockReturnValue(false);
}

describeCuda('large products of codes', () => {
  // As a GPU of four multiprocessors, which few tiles keep at work, and of which each has several; no product so small that branches are made beside it.
  const own = { multiprocessors: 0, besideBelow: 0, masksBelow: 0 };
  beforeEach(() => {
    const info = cuda().device.info as { multiprocessors: number };
    const { besideBelow, masksBelow } = cuda();
    Object.assign(own, { multiprocessors: info.multiprocessors, besideBelow, masksBelow });
    info.multiprocessors = 4;
    cuda().besideBelow = 0;
  });
  afterEach(() => {
    (cuda().device.info as { multiprocessors: number }).multiprocessors = own.multiprocessors;
    Object.assign(cuda(), { besideBelow: own.besideBelow, masksBelow: own.masksBelow });
    vi.restoreAllMocks();
  });

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

  it('turn queries and keys as a pass of its own does, which is not launched then', () => {
    ownOrPlain();
    const heads = { heads: 2, kvHeads: 2, headDim: 128 };
    const layout = packTokens({ lengths: [300, 212], dense: () => true });
    const [T, width] = [512, 256];
    const frozen = Array.from({ length: 3 }, () => {
      const plain = matrix(width, width, numbers(width * width, 0.05));
      const weight = storeAs(plain, 'fp8') as tf.Tensor2D;
      plain.dispose();
      return weight;
    });
    const adapters = frozen.flatMap(() => [
      tf.tensor2d(numbers(32 * width, 0.1), [32, width]),
      tf.tensor2d(numbers(width * 32, 0.1), [width, 32]),
    ]);
    const [x, dy, scale] = [matrix(T, width), matrix(T, width), tf.tensor1d(numbers(width))];
    const [cos, sin] = [Math.cos, Math.sin].map((of) =>
      tf.tensor2d(
        Array.from({ length: 64 * T }, (_, n) => of(n)),
        [T, 64],
      ),
    ) as [tf.Tensor2D, tf.Tensor2D];
    const attended = (x: tf.Tensor, adapters: tf.Tensor[], turnedNext: boolean, reads: boolean) => {
      const layers = frozen.map((weight, n): FrozenLayer => {
        const [a, b] = [adapters[2 * n], adapters[2 * n + 1]] as tf.Tensor2D[];
        return { weight, bias: null, keep: null, lora: { a: a!, b: b!, scaling: 2 } };
      });
      const [normed] = rmsNormResidual(x as tf.Tensor2D, scale, 1e-5);
      const [q, k, v] = projectRows(normed, layers, T, { turnedNext }) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
      const y = ropeAttention(q, k, v, { cos, sin }, layout, heads);
      return reads ? [y, q.clone(), k.clone()] : [y];
    };
    const run = (turnedNext: boolean, reads: boolean) => {
      const loss = (x: tf.Tensor, ...adapters: tf.Tensor[]) =>
        attended(x, adapters, turnedNext, reads)[0]!.cast('float32').mul(dy).sum() as tf.Scalar;
      return twice(() => [...attended(x, adapters, turnedNext, reads), ...tf.grads(loss)([x, ...adapters])]);
    };
    const apart = run(false, true);
    for (const reads of [true, false]) {
      const ours = run(true, reads);
      const theirs = reads ? apart : [apart[0]!, ...apart.slice(3)];
      const outputs = reads ? 3 : 1;
      // Where numbers of dq and dk differ by a rounding more, 2^-8, a code of them is another with so much of a chance as that is of a step of codes, 2^-3, and then by
      // a step: √(2^-8 · 2^-3) = 0.022 in gradients that are made of them.
      for (const [n, values] of ours.entries()) {
        expect(distance(values, theirs[n]!)).toBeLessThan(n < outputs ? 1e-2 : 3e-2);
      }
    }
    const launched = (turnedNext: boolean) => {
      const profile = cuda().profile(() => tf.dispose(tf.tidy(() => attended(x, adapters, turnedNext, false))));
      return profile.find(({ name }) => name === 'rope')?.calls ?? 0;
    };
    // Elsewhere the stand-in for our product has a pass of its own for each.
    expect([launched(false), launched(true)]).toEqual([1, isHopper() ? 0 : 2]);
    tf.dispose([x, dy, scale, cos, sin, ...frozen, ...adapters]);
  });

  it('refuse to add a branch that nobody would add', () => {
    const branch = { rank: 8, all: 8, at: 0 };
    expect(() => both({ m: 16, n: 16, k: 16, branch })).toThrow('cannot be added');
  });

  it.for([
    ['rows', false],
    ['columns', false],
    ['rows', true],
    ['columns', true],
  ] as const)('add branches in project %s as kernels of their own do, gathering kept channels: %s', ([op, sparse]) => {
    // Half of the rows are sparse, and both halves are so many that a kernel of ours makes them.
    const D = sparse && !isHopper() ? 64 : 512;
    const [T, width, kept] = [sparse ? 2 * D : D, 256, 128];
    ownOrPlain();
    cuda().masksBelow = sparse ? 0 : own.masksBelow;
    vi.spyOn(CodeGradients.prototype, 'pays').mockReturnValue(true);
    const counts = op === 'rows' ? 3 : 1;
    const keeps = Array.from({ length: counts }, (_, n) => {
      const indices = Array.from({ length: kept }, (_, k) => 2 * k + (n % 2));
      return sparse ? selection(indices, width) : null;
    });
    const frozen = Array.from({ length: counts }, () => {
      const plain = matrix(width, width, numbers(width * width, 0.05));
      const weight = storeAs(plain, 'fp8');
      plain.dispose();
      return weight as tf.Tensor2D;
    });
    const adapters = frozen.flatMap(() => [
      tf.tensor2d(numbers(32 * width, 0.1), [32, width]),
      tf.tensor2d(numbers(width * 32, 0.1), [width, 32]),
    ]);
    const [x, residual] = [matrix(T, width), matrix(T, width)];
    const dys = frozen.map(() => matrix(T, width));
    const outputs = (x: tf.Tensor, adapters: tf.Tensor[]) => {
      const layers = frozen.map((weight, n): FrozenLayer => {
        const [a, b] = [adapters[2 * n], adapters[2 * n + 1]] as tf.Tensor2D[];
        return { weight, bias: null, keep: keeps[n]!, lora: { a: a!, b: b!, scaling: 2 } };
      });
      return op === 'rows'
        ? projectRows(x as tf.Tensor2D, layers, D)
        : [projectColumns(x as tf.Tensor2D, residual, layers[0]!, D)];
    };
    const loss = (x: tf.Tensor, ...adapters: tf.Tensor[]) =>
      tf.addN(outputs(x, adapters).map((y, n) => y.cast('float32').mul(dys[n]!).sum())) as tf.Scalar;
    const run = () => twice(() => [...outputs(x, adapters), ...tf.grads(loss)([x, ...adapters])]);
    const within = run();
    withoutOwn();
    const apart = run();
    expect(cuda().takesGradient).toHaveBeenCalled();
    expect(within).not.toEqual(apart);
    for (const [n, values] of within.entries()) expect(distance(values, apart[n]!)).toBeLessThan(5e-3);
    tf.dispose([x, residual, ...dys, ...frozen, ...adapters, ...keeps.flatMap((keep) => keep?.indices ?? [])]);
  });

  it('make the gradients of gate and up at once', () => {
    vi.spyOn(CodeGradients.prototype, 'pays').mockReturnValue(true);
    const [T, width] = [512, 256];
    ownOrPlain();
    const [gate, up, down] = Array.from({ length: 3 }, () => {
      const plain = matrix(width, width, numbers(width * width, 0.05));
      const weight = storeAs(plain, 'fp8') as tf.Tensor2D;
      plain.dispose();
      return { weight, bias: null };
    });
    const [x, residual, dy] = [matrix(T, width), matrix(T, width), matrix(T, width)];
    const weights = { gate: gate!, up: up!, down: down! };
    const gradient = tf.grad((x) =>
      gatedMlp(x as tf.Tensor2D, residual, weights, null, T)
        .cast('float32')
        .mul(dy)
        .sum(),
    );
    const run = () => twice(() => [gradient(x)])[0]!;
    const within = run();
    withoutOwn();
    const apart = run();
    expect(within).not.toEqual(apart);
    expect(distance(within, apart)).toBeLessThan(5e-3);
    tf.dispose([x, residual, dy, ...Object.values(weights).map(({ weight }) => weight)]);
  });

  it('give the same bits in a recorded step, captured, as one by one', () => {
    vi.spyOn(CodeGradients.prototype, 'pays').mockReturnValue(true);
    ownOrPlain();
    const kernels = [CodeProducts.prototype, CodeGradients.prototype];
    const made = kernels.map((of) => vi.spyOn(of as { multiply: (of: never) => boolean }, 'multiply'));
    const [T, width, layerCount] = [512, 256, 2];
    const heads = { heads: 2, kvHeads: 2, headDim: 128 };
    const layout = packTokens({ lengths: [300, 212], dense: () => true });
    const frozen = () => {
      const plain = matrix(width, width, numbers(width * width, 0.05));
      const weight = storeAs(plain, 'fp8') as tf.Tensor2D;
      plain.dispose();
      return weight;
    };
    const adapter = () => [matrix(32, width, numbers(32 * width, 0.1)), matrix(width, 32, numbers(32 * width, 0.1))];
    const layers = Array.from({ length: layerCount }, () => ({
      weights: Array.from({ length: 7 }, frozen),
      adapters: [adapter(), adapter(), adapter(), adapter()].flat(),
      scales: [tf.tensor1d(numbers(width)), tf.tensor1d(numbers(width))] as const,
    }));
    const adapters = layers.flatMap(({ adapters }) => adapters.map((of) => of.cast('float32').variable()));
    const x = matrix(T, width);
    const dy = matrix(T * width, 1);
    const [cos, sin] = [Math.cos, Math.sin].map((of) =>
      tf.tensor2d(
        Array.from({ length: 64 * T }, (_, n) => of(n)),
        [T, 64],
      ),
    ) as [tf.Tensor2D, tf.Tensor2D];
    const forward = (layout: PackedLayout) => {
      let y: tf.Tensor2D = x;
      layers.forEach(({ weights, scales }, n) => {
        const layer = (k: number): FrozenLayer => {
          const [a, b] = adapters.slice(8 * n + 2 * k) as unknown as tf.Tensor2D[];
          return { weight: weights[k]!, bias: null, keep: null, lora: { a: a!, b: b!, scaling: 2 } };
        };
        const [normed, residual] = rmsNormResidual(y, scales[0], 1e-5);
        const [q, k, v] = projectRows(normed, [layer(0), layer(1), layer(2)], T, { turnedNext: true }) as [M, M, M];
        const attended = ropeAttention(q, k, v, { cos, sin }, layout, heads);
        const after = projectColumns(attended, residual, layer(3), T);
        const [again, beside] = rmsNormResidual(after, scales[1], 1e-5);
        const [gate, up, down] = weights.slice(4).map((weight) => ({ weight, bias: null }));
        y = gatedMlp(again, beside, { gate: gate!, up: up!, down: down! }, null, T);
      });
      // Not a sum, whose gradient would come from the host.
      return tf.matMul(y.reshape([1, -1]), dy).asScalar();
    };
    const inputs = { starts: layout.sequenceStarts, rows: layout.rowOfToken };
    const work = (of: StepInputs) =>
      tf.tidy(() => {
        const [sequenceStarts, rowOfToken] = [of.starts, of.rows] as [Int32Array, Int32Array];
        const { value, grads } = tf.variableGrads(() => forward({ ...layout, sequenceStarts, rowOfToken }), adapters);
        return [value, ...Object.values(grads)];
      });
    const read = (tensors: tf.Tensor[]) => {
      const values = tensors.map((tensor) => tensor.dataSync());
      tf.dispose(tensors);
      return values;
    };
    const oneByOne = read(work(inputs));
    const messages: string[] = [];
    const steps = createStepRecorder({ notify: (message) => messages.push(message) })!;
    for (const calls of made) calls.mockClear();
    for (let n = 0; n < 5; n++) expect(read(steps.run('a', inputs, work))).toEqual(oneByOne);
    expect(messages).toEqual([]);
    expect(steps.counts.replayed).toBeGreaterThan(1);
    // q, k, v, o and gate and up as one each way, of which a captured step made those of all layers.
    const ours = made.flatMap(({ mock }) => mock.results.filter(({ value }) => value));
    if (isHopper()) expect(ours.length).toBeGreaterThan(10 * layerCount);
    steps.dispose();
    for (const variable of adapters) variable.dispose();
    tf.dispose([
      x,
      dy,
      cos,
      sin,
      ...layers.flatMap(({ weights, adapters, scales }) => [...weights, ...adapters, ...scales]),
    ]);
  });
});
