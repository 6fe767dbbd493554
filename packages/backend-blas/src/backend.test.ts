import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { blasMissing, blasTitle, useBackend } from '../../../test/support/backends.js';
import { BlasBackend, probeBlas } from './index.js';

/** Runs `f` on cpu and on `backend`, and compares. */
async function sameAsCpu(name: string, f: () => tf.Tensor, backend = 'blas'): Promise<void> {
  await useBackend('cpu');
  const expected = tf.tidy(f);
  const values = expected.dataSync();
  await useBackend(backend);
  const actual = tf.tidy(f);
  expect([actual.shape, actual.dtype], name).toEqual([expected.shape, expected.dtype]);
  expectAllClose(name, actual, values as Float32Array, { relative: 1e-5, absolute: 1e-6 });
  tf.dispose([expected, actual]);
}

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);

/** `3,4 5` → [[3, 4], [5]]. */
const pair = (shapes: string) =>
  shapes.split(' ').map((shape) => (shape === '' ? [] : shape.split(',').map(Number))) as [number[], number[]];

// Skipped where there is no BLAS: what then happens is tested in probe.test.ts and in @spft/backends.
describe.skipIf(blasMissing())(blasTitle('backend blas'), () => {
  beforeAll(() => useBackend('blas'));

  it('keeps a slice, or a part of a split, whose source was disposed and whose memory another tensor got', () => {
    // What a kernel of ours made, so in the shared memory; with parts that are one stretch of it.
    const made = (value: number) => tf.tidy(() => tf.add(tf.fill([4, 256], value), tf.fill([4, 256], 1)));
    const source = made(1);
    const parts = tf.tidy(() => [
      ...[tf.slice(source, [1, 0], [2, 256]), ...tf.split(source, 2), ...tf.unstack(source)],
      tf.slice(tf.reshape(source, [-1]), [256], [300]),
    ]);
    source.dispose();
    const others = Array.from({ length: 8 }, (_, n) => made(10 + n));
    for (const part of parts) expect([...new Set(part.dataSync())], `[${part.shape}]`).toEqual([2]);
    tf.dispose([parts, others]);
  });

  it.each([
    ...[
      [1, 1, 1],
      [1, 7, 5],
      [5, 1, 3],
      [7, 9, 1],
      [0, 3, 4],
      [3, 0, 4],
      [3, 4, 0],
    ],
    ...[
      [17, 33, 65],
      [1, 1000, 300],
      [1000, 1, 300],
      [129, 200, 257],
      [600, 515, 300],
    ],
  ] as [number, number, number][])('multiplies %i×%i by way of %i, with every transposition', async (m, n, k) => {
    for (const [ta, tb] of [
      [false, false],
      [false, true],
      [true, false],
      [true, true],
    ] as const) {
      await sameAsCpu(`${ta} ${tb}`, () =>
        tf.matMul(random(ta ? [k, m] : [m, k], 1), random(tb ? [n, k] : [k, n], 2), ta, tb),
      );
    }
  });

  it.each([
    ...['3,4,5 3,5,6', '1,4,5 3,5,6', '4,5 7,5,2', '0,4,5 0,5,2', '64,20,30 64,30,20'],
    ...['3,300,200 1,200,300', '2,3,4,5 2,3,5,4'],
  ])('multiplies batches %s', async (shapes) => {
    const [a, b] = pair(shapes);
    await sameAsCpu('product', () => tf.matMul(random(a, 1), random(b, 2)));
  });

  it('broadcasts batches of different ranks, of which cpu computes a part alone', () => {
    const [a, b] = [random([2, 1, 4, 5], 1), random([3, 5, 2], 2)];
    const expected = tf.matMul(tf.broadcastTo(a, [2, 3, 4, 5]), tf.broadcastTo(b, [2, 3, 5, 2]));
    const actual = tf.matMul(a, b);
    expect(actual.shape).toEqual([2, 3, 4, 2]);
    expectAllClose('product', actual, expected);
    tf.dispose([a, b, expected, actual]);
  });

  it.each(['relu', 'relu6', 'elu', 'sigmoid', 'linear', 'leakyrelu'] as const)(
    'fuses bias and %s',
    async (activation) => {
      await sameAsCpu(activation, () =>
        tf.fused.matMul({
          a: random([30, 40], 1) as tf.Tensor2D,
          b: random([40, 50], 2) as tf.Tensor2D,
          bias: random([50], 3),
          activation,
        }),
      );
    },
  );

  it('multiplies what is no float32 as cpu does', async () => {
    await sameAsCpu('int32', () =>
      tf.matMul(
        tf.tensor2d(
          [
            [1, 2],
            [3, 4],
          ],
          [2, 2],
          'int32',
        ),
        tf.tensor2d([[5], [6]], [2, 1], 'int32'),
      ),
    );
    await sameAsCpu('cast', () =>
      tf.matMul(
        tf
          .tensor2d(
            [
              [1, 2],
              [3, 4],
            ],
            [2, 2],
            'int32',
          )
          .toFloat(),
        tf.tensor2d([[5], [6]]),
      ),
    );
    await sameAsCpu('one-hot', () =>
      tf.matMul(tf.oneHot([1, 0, 2], 3).toFloat() as tf.Tensor2D, random([3, 4], 1) as tf.Tensor2D),
    );
  });

  it.each([
    ...['40,50 40,50', '40,50 50', '40,50 1,50', '40,50 40,1', '40,50 ', ' 40,50', '50 40,50', '40,1 1,50'],
    ...['7,6,50 6,50', '7,6,50 7,1,1', '7,6,50 7,1,50', '1,300 300,1', '0,50 50', '300 1,1,300', '3,1,300 1,1'],
  ])('adds, subtracts, multiplies and divides %s', async (shapes) => {
    const [a, b] = pair(shapes);
    for (const op of [tf.add, tf.sub, tf.mul, tf.div]) await sameAsCpu(op.name, () => op(random(a, 1), random(b, 2)));
  });

  it('has the elementwise functions of training', async () => {
    for (const op of [tf.neg, tf.square, tf.relu, tf.sigmoid, tf.softmax] as ((x: tf.Tensor) => tf.Tensor)[]) {
      await sameAsCpu(op.name, () => op(random([37, 41], 1)));
    }
    await sameAsCpu('addN', () => tf.addN([1, 2, 3].map((seed) => random([300], seed))));
  });

  it('works on 10⁷ elements', () => {
    const sum = tf.tidy(() => {
      const x = tf.ones([2500, 4000]);
      return tf
        .matMul(tf.add(x, x) as tf.Tensor2D, tf.ones([4000, 3]))
        .sum()
        .dataSync()[0];
    });
    expect(sum).toBe(2 * 2500 * 4000 * 3);
  });

  it('hands out copies: what was read stays, whatever becomes of the memory', () => {
    const x = tf.matMul(tf.ones([20, 20]), tf.ones([20, 20]));
    const values = x.dataSync();
    x.dispose();
    tf.dispose(tf.matMul(tf.zeros([20, 20]), tf.ones([20, 20])));
    expect(values[0]).toBe(20);
    expect(values.buffer).toBeInstanceOf(ArrayBuffer);
  });
});

describe.skipIf(blasMissing())(blasTitle('BlasBackend'), () => {
  const name = 'blas-test';
  afterEach(async () => {
    await useBackend('blas');
    tf.removeBackend(name);
    for (const { kernelName } of tf.getKernelsForBackend(name)) tf.unregisterKernel(kernelName, name);
  });

  /** A second backend of the kind. */
  async function start(options: { threads?: number; limit?: number }): Promise<BlasBackend> {
    const probe = probeBlas();
    if (!probe.available) throw new Error(probe.reason);
    const backend = new BlasBackend({ ...probe, ...options });
    tf.registerBackend(name, () => backend);
    for (const kernel of tf.getKernelsForBackend('blas')) tf.registerKernel({ ...kernel, backendName: name });
    await useBackend(name);
    return backend;
  }

  it.each([1, 2, 3, 5])('computes the same on %i threads', async (threads) => {
    await start({ threads });
    for (let n = 0; n < 5; n++) {
      await sameAsCpu(
        'product',
        () => tf.matMul(random([301, 200], n + 1) as tf.Tensor2D, random([200, 333], n + 9) as tf.Tensor2D),
        name,
      );
      await sameAsCpu('sum', () => tf.add(random([301, 333], n + 1), random([301, 333], n + 9)), name);
    }
  });

  it('computes the same when its memory is full', async () => {
    const backend = await start({ limit: 100_000 });
    const kept = [1, 2, 3, 4].map((seed) => tf.add(random([100, 200], seed), 1));
    expect(backend.heap.used).toBeLessThanOrEqual(200_000);
    await sameAsCpu(
      'product',
      () => tf.matMul(random([100, 200], 1) as tf.Tensor2D, random([200, 300], 2) as tf.Tensor2D),
      name,
    );
    await sameAsCpu('sum', () => tf.sub(random([300, 200], 3), random([200], 4)), name);
    expectAllClose(
      'what was made before',
      kept[0]!,
      tf.tidy(() => tf.add(random([100, 200], 1), 1).dataSync()),
    );
    tf.dispose(kept);
  });

  it('gives back every byte over 1,000 steps', async () => {
    const backend = await start({});
    const weight = tf.variable(random([64, 48], 1));
    const x = random([50, 64], 2) as tf.Tensor2D;
    const optimizer = tf.train.sgd(0.01);
    const step = () =>
      optimizer.minimize(
        () =>
          tf
            .relu(tf.matMul(x, weight as unknown as tf.Tensor2D))
            .square()
            .mean() as tf.Scalar,
      );
    for (let n = 0; n < 3; n++) step();
    const before = { tensors: tf.memory().numTensors, used: backend.heap.used, size: backend.heap.size };
    for (let n = 0; n < 1000; n++) step();
    expect({ tensors: tf.memory().numTensors, used: backend.heap.used, size: backend.heap.size }).toEqual(before);
    tf.dispose([weight, x]);
  });

  it('shares memory between a tensor and its views, until the last is gone', async () => {
    const backend = await start({});
    const before = backend.heap.used;
    const info = backend.output([4, 8]);
    backend.values(info).set(Array.from({ length: 32 }, (_, i) => i));
    const view = backend.view(info, [2, 8], 16);
    backend.disposeData(info.dataId);
    expect(backend.heap.used).toBeGreaterThan(before);
    expect(backend.values(view)[0]).toBe(16);
    backend.disposeData(view.dataId);
    expect(backend.heap.used).toBe(before);
  });
});
