/**
 * @file Ops whose products of codes a kernel of ours makes on Hopper, with branches added, turned, or as gradients of several matrices, beside the same ops whose branches, turning and
 * gradients are kernels of their own. Elsewhere the same tests run with products that stand in for ours.
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
import { distance, matrix, numbers, selection, twice } from '../../test/e4m3.js';
import { withMultiprocessors } from '../../test/few-multiprocessors.js';
import { CodeGradients } from './code-gradients.js';
import { CodeProducts } from './code-products.js';

const isHopper = () => cuda().device.architecture === 'sm_90a';

type M = tf.Tensor2D;

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

describeCuda('ops on large products of codes', () => {
  withMultiprocessors(4);
  // No product is so small that branches are made beside it.
  const own = { besideBelow: 0, masksBelow: 0 };
  beforeEach(() => {
    const { besideBelow, masksBelow } = cuda();
    Object.assign(own, { besideBelow, masksBelow });
    cuda().besideBelow = 0;
  });
  afterEach(() => {
    Object.assign(cuda(), own);
    vi.restoreAllMocks();
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
