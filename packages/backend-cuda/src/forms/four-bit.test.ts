/**
 * @file Frozen matrices in codes of four bits: every op gives the bits that it gives of the same matrix unpacked to bf16, within a recorded step too; codes
 * are those of the oracle; and nothing is left of what fails.
 */
import {
  type ChannelSelection,
  createStepRecorder,
  doraNorms,
  type FrozenLayer,
  gatedMlp,
  gatherRows,
  linear,
  linearKeptColumns,
  linearKeptRows,
  projectColumns,
  projectRows,
  storedLike,
} from '@spft/sparse-ops';
import { runKernel } from '@spft/sparse-ops/backend';
import { orForgetTape } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { packedMatrix } from '../../../sparse-ops/src/forms/four-bit.js';
import { quantise4bitReference } from '../../../sparse-ops/src/forms/four-bit.reference.js';
import { packedTensor } from '../../../sparse-ops/src/forms/packed-tensor.js';
import { bf16Tensor, random, roundToBf16, SEED } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { failAllocation } from '../../test/failing-allocations.js';
import { bothOf, codesOf, type Kind } from '../../test/four-bit.js';

const next = random(SEED);
const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
const numbers = (count: number, size = 1) => Float32Array.from({ length: count }, () => roundToBf16(size * normal()));
const matrix = (rows: number, columns: number, values = numbers(rows * columns)) =>
  bf16Tensor([...values], [rows, columns]) as tf.Tensor2D;
const selection = (indices: number[], total: number): ChannelSelection => ({
  indices: tf.tensor1d(indices, 'int32'),
  kept: indices.length,
  total,
});

/**
 * What an op gives, and the gradients of a sum over it, with `weights` in codes and plain: equal to the bit.
 * @param allowed relative distance where sums are taken in another way, as of few rows.
 */
function expectSame(
  inputs: readonly tf.Tensor2D[],
  weights: readonly (readonly [tf.Tensor2D, tf.Tensor2D])[],
  f: Op,
  allowed = 0,
) {
  const run = (n: 0 | 1) =>
    tf.tidy(() => {
      const of = weights.map((pair) => pair[n]);
      const gradients = tf.grads(
        (...x) =>
          f(x as tf.Tensor2D[], of)
            .square()
            .sum() as tf.Scalar,
      );
      return [f(inputs as tf.Tensor2D[], of), ...gradients([...inputs])].map((t) => t.dataSync() as Float32Array);
    });
  const [packed, plain] = [run(0), run(1)];
  expect(packed[0]!.some((x) => x !== 0)).toBe(true);
  if (allowed === 0) expect(packed).toEqual(plain);
  else for (const [n, values] of packed.entries()) expect(distance(values, plain[n]!)).toBeLessThan(allowed);
}

/** ‖a − b‖ / ‖b‖. */
function distance(a: Float32Array, b: Float32Array): number {
  const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
  return norm(a.map((x, n) => x - b[n]!)) / norm(b);
}

type Op = (x: tf.Tensor2D[], w: tf.Tensor2D[]) => tf.Tensor;

const every = (n: number, total: number) =>
  Array.from({ length: Math.floor((total - 1) / n) }, (_, i) => n * i + (i % n === 0 ? 1 : 0));

describeCuda('frozen matrices in four bits', () => {
  it.each([
    {},
    { nested: false },
    { type: 'fp4' },
    { type: 'fp4', nested: false, blockSize: 128 },
    { blockSize: 32 },
  ] satisfies Kind[])('are the numbers that their codes stand for: %o', async (kind) => {
    const before = [cuda().memoryPool.bytes, cuda().numDataIds(), tf.memory().numTensors];
    const [packed, plain] = bothOf(48, 384, kind);
    expect([cuda().physical(packed), packed.shape]).toEqual(['u4', [48, 384]]);
    const clone = packed.clone();
    const values = packed.dataSync();
    expect(values).toEqual(plain.dataSync());
    packed.dispose();
    // What the clone has lives on, and what is being read although it is disposed of meanwhile.
    const reading = clone.data();
    clone.dispose();
    expect(await reading).toEqual(values);
    plain.dispose();
    expect([cuda().memoryPool.bytes, cuda().numDataIds(), tf.memory().numTensors]).toEqual(before);
  });

  it('take half a byte a number, and their scales', () => {
    const before = cuda().memoryPool.bytes;
    const packed = packedTensor(packedMatrix(codesOf(64, 1024)));
    const scales = 1024 + 4 * 4 + 4 * 256;
    expect(cuda().memoryPool.bytes - before).toBeGreaterThanOrEqual(64 * 512 + scales);
    expect(cuda().memoryPool.bytes - before).toBeLessThan(64 * 512 + scales + 512);
    packed.dispose();
  });

  it.each([5, 8, 9, 16, 17, 130])('multiply %i rows, and their gradients', (T) => {
    const weights = [bothOf(80, 192)];
    const x = matrix(T, 192);
    expectSame([x], weights, ([x], [w]) => linear(x!, w!), T <= 4 ? 1e-2 : 0);
    tf.dispose([x, weights.flat()]);
  });

  it.each([1, 2, 3, 4])('multiply %i rows by their numbers as they are before they are rounded to bf16', (T) => {
    const [packed, plain] = bothOf(80, 192);
    const x = matrix(T, 192);
    const [y, expected] = [packed, plain].map((w) => linear(x, w).dataSync());
    const norm = Math.hypot(...expected!);
    expect(Math.hypot(...y!.map((value, n) => value - expected![n]!))).toBeLessThan(6e-3 * norm);
    tf.dispose([x, packed, plain]);
  });

  it('multiply by kept rows and by kept columns', () => {
    const weights = [bothOf(72, 256)];
    for (const step of [2, 3, 7]) {
      const [rows, columns] = [selection(every(step, 72), 72), selection(every(step, 256), 256)];
      const inputs = [matrix(19, 256), matrix(19, columns.kept)];
      expectSame([inputs[0]!], weights, ([x], [w]) => linearKeptRows(x!, w!, rows));
      expectSame([inputs[1]!], weights, ([x], [w]) => linearKeptColumns(x!, w!, columns));
      tf.dispose([inputs, rows.indices, columns.indices]);
    }
    tf.dispose(weights.flat());
  });

  it.each([
    ['dense rows', 9],
    ['both kinds', 4],
    ['sparse rows', 0],
  ])('serve the ops that span several products: %s', (_, D) => {
    const weights = [bothOf(128, 64), bothOf(64, 64, { type: 'fp4' }), bothOf(64, 128)];
    const [a, b] = [tf.randomNormal([4, 64]), tf.randomNormal([128, 4])] as [tf.Tensor2D, tf.Tensor2D];
    const keep = selection(every(2, 128), 128);
    const inputs = [matrix(9, 64), matrix(9, 64), matrix(9, 128)];
    const layer = (weight: tf.Tensor2D, more: Partial<FrozenLayer> = {}): FrozenLayer => ({
      ...{ weight, bias: null, keep: null, lora: null },
      ...more,
    });
    const lora = { a, b, scaling: 0.5 };
    expectSame([inputs[0]!], weights, ([x], [w1, w2]) =>
      tf.concat(projectRows(x!, [layer(w1!, { keep, lora }), layer(w2!)], D), 1),
    );
    expectSame([inputs[2]!, inputs[0]!], weights, ([x, residual], [, , w]) =>
      projectColumns(x!, residual!, layer(w!, { keep }), D),
    );
    expectSame([inputs[0]!, inputs[1]!], [weights[0]!, weights[0]!, weights[2]!], ([x, residual], [gate, up, down]) =>
      gatedMlp(x!, residual!, { gate: layer(gate!), up: layer(up!), down: layer(down!) }, D === 9 ? null : keep, D),
    );
    tf.dispose([a, b, keep.indices, inputs, weights.flat()]);
  });

  it('are plain numbers to everything else', () => {
    const [packed, plain] = bothOf(32, 64);
    tf.tidy(() => {
      expect(packed.transpose().dataSync()).toEqual(plain.transpose().dataSync());
      expect(packed.slice([3, 0], [2, 64]).dataSync()).toEqual(plain.slice([3, 0], [2, 64]).dataSync());
      const merged = storedLike(packed.add(1e-3) as tf.Tensor2D, packed);
      expect(cuda().physical(merged)).toBe('bf16');
      const [a, b] = [tf.randomNormal([4, 64]), tf.randomNormal([32, 4])] as [tf.Tensor2D, tf.Tensor2D];
      expect(doraNorms(packed, a, b, 0.5).dataSync()).toEqual(doraNorms(plain, a, b, 0.5).dataSync());
    });
    tf.dispose([packed, plain]);
  });

  it('give rows by index and zeros for padding, without unpacking the others', () => {
    const [packed, plain] = bothOf(512, 256);
    const rows = tf.tensor1d([3, 511, -1, 3, 0], 'int32');
    const held = cuda().memoryPool.bytes;
    cuda().memoryPool.resetPeak();
    const given = gatherRows(packed, rows);
    expect(cuda().memoryPool.peakBytes - held).toBeLessThan(2 * 5 * 256 + 512);
    const wanted = gatherRows(plain, rows);
    expect(given.dataSync()).toEqual(wanted.dataSync());
    tf.dispose([packed, plain, rows, given, wanted]);
  });

  it.each(['nf4', 'fp4'] as const)('have the codes of the oracle, %s, whatever the numbers are', (type) => {
    // Of random sizes, zeros, the middles between codes, the smallest floats, and blocks of one number alone.
    const values = numbers(64 * 96, 1).map((x, n) => Math.fround(x * 10 ** (((n >> 6) % 70) - 35)));
    values.fill(0, 64, 128);
    values.fill(0, 128, 192)[130] = -1e-45;
    for (let n = 192; n < 256; n++) values[n] = (n % 2 === 0 ? 1 : -1) * ((n - 192) / 63);
    const x = tf.tensor2d(values, [96, 64]);
    const wanted = quantise4bitReference(values, type, 64);
    const [codes, absmax] = runKernel('SpftQuantise4bit', { x }, { type, blockSize: 64 });
    expect([absmax.dataSync(), codes.dataSync()]).toEqual([wanted.absmax, wanted.codes]);
    tf.dispose([x, codes, absmax]);
  });

  it('give the same bits in a recorded step, and leave nothing of one that fails', () => {
    const weights = [bothOf(64, 128), bothOf(64, 128)];
    const [packed] = weights[0]!;
    const indices = tf.tensor1d(every(2, 64), 'int32');
    const keep = { indices, kept: indices.size, total: 64 };
    const dy = matrix(20, 64 + keep.kept);
    const work = (x: tf.Tensor2D) =>
      tf.tidy(() => {
        const f = (x: tf.Tensor) =>
          tf.concat([linear(x as tf.Tensor2D, packed), linearKeptRows(x as tf.Tensor2D, packed, keep)], 1);
        return [f(x), tf.grad(f)(x, dy)] as tf.Tensor[];
      });
    const values = numbers(20 * 128);
    const input = tf.tensor2d(values, [20, 128]);
    const wanted = work(input).map((t) => t.dataSync());
    const steps = createStepRecorder()!;
    for (let step = 0; step < 4; step++) {
      const made = steps.run('a', { x: values }, ({ x }) =>
        tf.tidy(() => work(tf.tensor2d(x as Float32Array, [20, 128]))),
      );
      expect(made.map((t) => t.dataSync())).toEqual(wanted);
      tf.dispose(made);
    }
    expect(steps.counts).toMatchObject({ live: 1, recorded: 1 });
    steps.dispose();

    const held = () => [cuda().memoryPool.bytes, cuda().numDataIds(), tf.memory().numTensors];
    const before = held();
    let failures = 0;
    for (let n = 1; ; n++) {
      const restore = failAllocation(n);
      try {
        tf.dispose(orForgetTape(() => work(input)));
        break;
      } catch (error) {
        expect(error).toMatchObject({ code: 'SPFT_CUDA_MEMORY' });
        failures++;
      } finally {
        restore();
      }
      expect(held()).toEqual(before);
    }
    expect(failures).toBeGreaterThan(4);
    tf.dispose([input, indices, dy, weights.flat()]);
  });
});
