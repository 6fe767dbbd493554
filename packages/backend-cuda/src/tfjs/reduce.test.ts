/** @file Reductions, softmax and running sums against the cpu backend. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { bf16Tensor, expectAsOnCpu, type Kind } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';

type Reduction = (x: tf.Tensor, axis?: number | number[], keepDims?: boolean) => tf.Tensor;

const REDUCTIONS: readonly [name: string, f: Reduction][] = [
  ['sum', tf.sum],
  ['mean', tf.mean],
  ['max', tf.max],
  ['min', tf.min],
  ['prod', tf.prod],
];

/** Shapes and axes, by what they exercise. */
const AXES: readonly [string, number[], number | number[] | undefined][] = [
  ['everything', [3, 5], undefined],
  ['rows', [7, 33], 1],
  ['rows of packs', [5, 64], -1],
  ['columns', [33, 7], 0],
  ['the middle', [3, 9, 4], 1],
  ['outer and inner', [3, 4, 5], [0, 2]],
  ['two inner axes', [3, 4, 5], [1, 2]],
  ['axes apart of four', [2, 3, 4, 5], [1, 3]],
  ['an axis of one', [3, 1, 4], 1],
  ['a scalar', [], undefined],
  ['one', [1], 0],
  ['no rows', [0, 5], 1],
];

describeCuda('reductions', () => {
  it.each(AXES)('over %s', async (_, shape, axis) => {
    for (const [name, f] of REDUCTIONS) {
      await expectAsOnCpu(name, (x) => f(x, axis), [{ shape, range: [0.5, 1.5] }], { tolerance: 1e-5 });
      await expectAsOnCpu(name, (x) => f(x, axis, true), [{ shape, range: [0.5, 1.5] }], { tolerance: 1e-5 });
    }
  });

  it('of bf16, int32 and bool', async () => {
    for (const [name, f] of REDUCTIONS) {
      for (const kind of ['bf16', 'i32'] as Kind[]) {
        const input = { shape: [6, 9], kind, range: [1, 3] as [number, number] };
        await expectAsOnCpu(name, (x) => f(x, 1), [input], { tolerance: 1e-5 });
        await expectAsOnCpu(name, (x) => f(x, 0), [input], { tolerance: 1e-5 });
      }
    }
    for (const f of [tf.all, tf.any]) {
      for (const axis of [0, 1]) await expectAsOnCpu(f.name, (x) => f(x, axis), [{ shape: [40, 3], kind: 'bool' }]);
    }
    await expectAsOnCpu('sum', (x) => tf.sum(x), [{ shape: [50], kind: 'bool' }]);
    tf.tidy(() => {
      const x = bf16Tensor([1, 2, 3], [3]);
      expect(cuda().physical(tf.sum(x))).toBe('f32');
      expect(cuda().physical(tf.max(x))).toBe('bf16');
    });
  });

  it('cuts long rows and columns into parts, to the same bits every time', async () => {
    await expectAsOnCpu('sum', (x) => tf.sum(x), [{ shape: [1000003] }], { tolerance: 2e-4 });
    await expectAsOnCpu('sum', (x) => tf.sum(x, 0), [{ shape: [5000, 3] }], { tolerance: 1e-4 });
    await expectAsOnCpu('max', (x) => tf.max(x, 1), [{ shape: [2, 70000], kind: 'bf16' }]);
    await expectAsOnCpu('any', (x) => tf.any(x, 0), [{ shape: [3000, 2], kind: 'bool' }]);
    tf.tidy(() => {
      const x = tf.randomNormal([40000]);
      expect(tf.sum(x).dataSync()[0]).toBe(tf.sum(x).dataSync()[0]);
    });
  });

  it('lets NaN win max and min', async () => {
    const input = { shape: [3, 2], values: [1, Number.NaN, Number.NaN, 2, 3, 4] };
    for (const f of [tf.max, tf.min]) {
      await expectAsOnCpu(f.name, (x) => f(x, 1), [input]);
      await expectAsOnCpu(f.name, (x) => f(x, 0), [input]);
    }
  });

  it('argMax and argMin of long rows give the first place, wherever it is', () => {
    const n = 20_001;
    for (const places of [[0], [n - 1], [2047, 2048], [9000, 9001, 15_000], [1]]) {
      const values = Float32Array.from({ length: 2 * n }, (_, i) => Math.sin(i) / 4);
      for (const place of places) {
        values[place] = 7;
        values[n + place] = -7;
      }
      values[5000] = Number.NaN;
      const x = tf.tensor2d(values, [2, n]);
      expect(tf.argMax(x, 1).dataSync()[0]).toBe(places[0]);
      expect(tf.argMin(x, 1).dataSync()[1]).toBe(places[0]);
      x.dispose();
    }
    const none = tf.fill([1, n], Number.NaN);
    expect([...tf.argMax(none, 1).dataSync()]).toEqual([0]);
    none.dispose();
  });

  it('argMax and argMin give the first place', async () => {
    for (const f of [tf.argMax, tf.argMin]) {
      for (const axis of [0, 1, 2]) {
        await expectAsOnCpu(f.name, (x) => f(x, axis), [{ shape: [4, 33, 3] }]);
        await expectAsOnCpu(f.name, (x) => f(x, axis), [{ shape: [4, 33, 3], kind: 'i32', range: [0, 3] }]);
        await expectAsOnCpu(f.name, (x) => f(x, axis), [{ shape: [4, 33, 3], kind: 'bf16' }]);
      }
      const odd = [Number.NaN, 5, 1, 2, Number.NaN, 2, -Infinity, -Infinity, Number.NaN, 7, 7, Infinity];
      await expectAsOnCpu(f.name, (x) => f(x, 1), [{ shape: [4, 3], values: odd }]);
      await expectAsOnCpu(f.name, (x) => f(x, 1), [{ shape: [2, 5000] }]);
    }
  });

  it('softmax and its logarithm, in the type of the logits', async () => {
    for (const shape of [[4, 33], [3, 2, 8], [1], [2, 3000], [0, 4]]) {
      await expectAsOnCpu('softmax', (x) => tf.softmax(x), [{ shape, range: [-9, 9] }], { tolerance: 1e-5 });
      await expectAsOnCpu('logSoftmax', (x) => tf.logSoftmax(x), [{ shape, range: [-9, 9] }], { tolerance: 1e-5 });
    }
    await expectAsOnCpu('softmax', (x) => tf.softmax(x), [{ shape: [3, 16], kind: 'bf16' }]);
    const masked = [-Infinity, 1, 2, -Infinity, 3, -Infinity, Number.NaN, 1, 2];
    await expectAsOnCpu('softmax', (x) => tf.softmax(x), [{ shape: [3, 3], values: masked }], { tolerance: 1e-5 });
    await expectAsOnCpu('logSumExp', (x) => tf.logSumExp(x, 1), [{ shape: [5, 9] }], { tolerance: 1e-5 });
  });

  it('running sums and products, exclusive and from the end', async () => {
    for (const exclusive of [false, true]) {
      for (const reverse of [false, true]) {
        const sum = (axis: number) => (x: tf.Tensor) => tf.cumsum(x, axis, exclusive, reverse);
        await expectAsOnCpu('cumsum', sum(0), [{ shape: [700] }], { tolerance: 1e-4 });
        await expectAsOnCpu('cumsum', sum(1), [{ shape: [3, 5, 2], kind: 'i32' }]);
        await expectAsOnCpu('cumsum', sum(0), [{ shape: [5, 2], kind: 'bool' }]);
        const product = (x: tf.Tensor) => tf.cumprod(x, 0, exclusive, reverse);
        await expectAsOnCpu('cumprod', product, [{ shape: [300], range: [0.9, 1.1] }], { tolerance: 1e-4 });
      }
    }
  });
});
