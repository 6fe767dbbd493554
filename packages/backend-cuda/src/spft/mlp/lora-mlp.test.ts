/** @file The gated MLP with LoRA in one op: what the kernels of its parts give, with gathered channels, in fewer launches. */
import { type ChannelSelection, loraMlp, type MlpLayers } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, expect, it } from 'vitest';
import { bf16Tensor, random, roundToBf16 } from '../../../test/compare.js';
import { cuda, describeCuda } from '../../../test/cuda.js';

const next = random(7);
const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
const matrix = (rows: number, columns: number, size = 1) =>
  bf16Tensor(
    Array.from({ length: rows * columns }, () => roundToBf16(size * normal())),
    [rows, columns],
  ) as tf.Tensor2D;
const trained = (rows: number, columns: number, size: number) =>
  tf.variable(
    tf.tensor2d(
      Float32Array.from({ length: rows * columns }, () => size * normal()),
      [rows, columns],
    ),
  );

const masksBelow = 2 ** 32;
afterEach(() => {
  cuda().masksBelow = masksBelow;
});

function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let n = 0; n < b.length; n++) {
    difference += (a[n]! - b[n]!) ** 2;
    norm += b[n]! ** 2;
  }
  return Math.sqrt(difference / norm);
}

interface Shape {
  readonly T: number;
  readonly D: number;
  readonly H: number;
  readonly I: number;
  readonly kept: number;
  /** Of gate, up and down. */
  readonly ranks: readonly [number, number, number];
}

function caseOf({ T, D, H, I, kept, ranks }: Shape) {
  // Runs of neighbours, and gaps wider than a block of the kernels; where most are kept, more in a block than a warp reads of a row at a time.
  const ofFive = Math.max(2, Math.ceil((5 * kept) / I));
  const channels = Array.from({ length: I }, (_, n) => n).filter((n) => n % 5 < ofFive || n > I - 20);
  const keep: ChannelSelection = { indices: tf.tensor1d(channels.slice(-kept), 'int32'), kept, total: I };
  const layerOf = (out: number, inputs: number, rank: number) => ({
    ...{ weight: matrix(out, inputs, 1 / Math.sqrt(inputs)), bias: null },
    lora: { a: trained(rank, inputs, 1 / Math.sqrt(inputs)), b: trained(out, rank, 0.3), scaling: 2 },
  });
  const [gate, up, down] = [layerOf(I, H, ranks[0]), layerOf(I, H, ranks[1]), layerOf(H, I, ranks[2])];
  const layers = { gate, up, down };
  const variables = [gate, up, down].flatMap(({ lora }) => [lora.a, lora.b]) as unknown as tf.Variable[];
  const [x, residual, dy] = [matrix(T, H), matrix(T, H), matrix(T, H)];
  const f = (x: tf.Tensor, residual: tf.Tensor, ..._: tf.Tensor[]) =>
    loraMlp(x as tf.Tensor2D, residual as tf.Tensor2D, layers as unknown as MlpLayers, keep, D);
  const run = () => {
    const { kernels, products } = cuda().launches;
    const y = f(x, residual);
    const gradients = tf.grads((x, residual, ...ofBranches) => f(x!, residual!, ...ofBranches))(
      [x, residual, ...variables],
      dy,
    );
    const { kernels: k, products: p } = cuda().launches;
    const values = [y, ...gradients].map((t) => t.dataSync() as Float32Array);
    tf.dispose([y, ...gradients]);
    return { values, launches: k + p - kernels - products };
  };
  const dispose = () => tf.dispose([x, residual, dy, keep.indices, ...variables, gate.weight, up.weight, down.weight]);
  return { run, dispose };
}

const NAMES = ['y', 'dx', 'dresidual', 'dA gate', 'dB gate', 'dA up', 'dB up', 'dA down', 'dB down'];

/** By gathered channels, and the kernels of the parts. */
function byParts<T>(run: () => T): T {
  const kernel = tf.getKernel('SpftLoraMlp', 'cuda')! as { kernelFunc: tf.KernelFunc };
  const original = kernel.kernelFunc;
  kernel.kernelFunc = () => [];
  cuda().masksBelow = 0;
  try {
    return run();
  } finally {
    cuda().masksBelow = masksBelow;
    kernel.kernelFunc = original;
  }
}

describeCuda('loraMlp() by few launches', () => {
  it.each<Shape>([
    { T: 150, D: 70, H: 64, I: 136, kept: 48, ranks: [8, 8, 8] },
    { T: 67, D: 0, H: 72, I: 264, kept: 21, ranks: [32, 16, 8] },
    { T: 65, D: 64, H: 136, I: 72, kept: 16, ranks: [8, 40, 64] },
    { T: 64, D: 3, H: 200, I: 640, kept: 160, ranks: [16, 16, 16] },
    { T: 70, D: 70, H: 64, I: 200, kept: 40, ranks: [32, 32, 24] },
    { T: 90, D: 10, H: 64, I: 264, kept: 201, ranks: [8, 32, 16] },
  ])('gives what its parts give: $T rows, $D dense, [$H → $I], $kept kept, ranks $ranks', (shape) => {
    const { run, dispose } = caseOf(shape);
    const before = cuda().memoryPool.bytes;
    const parts = byParts(run);
    run();
    const few = run();
    // The second time nothing is derived any more: the forward twice, the backward once.
    expect(few.launches).toBeLessThanOrEqual(2 * 9 + 15);
    expect(few.launches).toBeLessThan(parts.launches - 2);
    few.values.forEach((values, n) => {
      expect(distance(values, parts.values[n]!), NAMES[n]).toBeLessThan(1.5e-2);
    });
    dispose();
    // Not even what was derived is left.
    expect(cuda().memoryPool.bytes).toBeLessThan(before);
  });

  it('leaves an MLP to its parts where channels are gathered, a bias or a magnitude is there, no branch, or weights in float', () => {
    const x = matrix(16, 16);
    const weight = () => matrix(16, 16);
    const lora = () => ({ a: matrix(8, 16), b: matrix(16, 8), scaling: 1 });
    const plain = () => ({ weight: weight(), bias: null, lora: lora() });
    const all = { gate: plain(), up: plain(), down: plain() };
    const kept = (...indices: number[]) => ({
      indices: tf.tensor1d(indices, 'int32'),
      kept: indices.length,
      total: 16,
    });
    const eight = kept(1, 2, 3, 5, 8, 9, 10, 15);
    const calls = (layers: MlpLayers, keep: ChannelSelection | null, D: number) => {
      const kernel = tf.getKernel('SpftProjectRows', 'cuda')! as { kernelFunc: tf.KernelFunc };
      const original = kernel.kernelFunc;
      let count = 0;
      kernel.kernelFunc = (params) => {
        count++;
        return original(params);
      };
      try {
        loraMlp(x, x, layers, keep, D).dispose();
      } finally {
        kernel.kernelFunc = original;
      }
      return count;
    };
    tf.tidy(() => {
      expect(calls(all, eight, 4)).toBe(0);
      expect(calls(all, kept(1, 2, 3), 4)).toBe(0);
      expect(calls(all, eight, 16)).toBe(0);
      expect(calls(all, null, 16)).toBe(0);
      cuda().masksBelow = 0;
      expect(calls(all, eight, 4)).toBe(1);
      expect(calls(all, eight, 16)).toBe(0);
      cuda().masksBelow = masksBelow;
      expect(calls({ ...all, up: { ...plain(), bias: tf.zeros([16]) as tf.Tensor1D } }, eight, 4)).toBe(1);
      const magnitude = tf.ones([16]) as tf.Tensor1D;
      expect(calls({ ...all, down: { ...plain(), lora: { ...lora(), magnitude } } }, eight, 4)).toBe(1);
      expect(calls({ ...all, gate: { ...plain(), lora: null } }, eight, 4)).toBe(1);
      expect(calls({ ...all, up: { ...plain(), weight: tf.ones([16, 16]) as tf.Tensor2D } }, eight, 4)).toBe(1);
    });
  });
});
