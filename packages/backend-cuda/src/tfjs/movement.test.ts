/** @file Everything that moves elements, against the cpu backend, in every width that elements have. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { expectAsOnCpu, type Kind } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';

type Move = readonly [name: string, shape: number[], f: (x: tf.Tensor) => tf.Tensor | tf.Tensor[]];

const KINDS: readonly Kind[] = ['f32', 'bf16', 'i32', 'bool'];

const MOVES: readonly Move[] = [
  ['slice of rows', [6, 8], (x) => tf.slice(x, [2, 0], [3, 8])],
  ['slice of rows that are not aligned', [6, 5], (x) => tf.slice(x, [1, 0], [3, 5])],
  ['slice of columns', [6, 9], (x) => tf.slice(x, [1, 2], [4, 5])],
  ['slice of nothing', [6, 9], (x) => tf.slice(x, [1, 2], [0, 5])],
  ['slice of all', [3, 4], (x) => tf.slice(x, [0, 0], [3, 4])],
  ['slice of one', [7], (x) => tf.slice(x, [3], [1])],
  ['slice in the middle', [2, 5, 3, 8], (x) => tf.slice(x, [0, 1, 0, 0], [2, 3, 3, 8])],
  ['stridedSlice', [7, 9], (x) => tf.stridedSlice(x, [1, 8], [7, 0], [2, -3])],
  ['reverse', [3, 4, 5], (x) => tf.reverse(x, [0, 2])],
  ['transpose', [33, 70], (x) => tf.transpose(x)],
  ['transpose of a batch', [3, 17, 9], (x) => tf.transpose(x, [0, 2, 1])],
  ['transpose of heads', [2, 5, 3, 8], (x) => tf.transpose(x, [0, 2, 1, 3])],
  ['transpose of keys', [2, 12, 3, 16], (x) => tf.transpose(x, [0, 2, 3, 1])],
  ['transpose of ones', [1, 5, 1], (x) => tf.transpose(x, [2, 1, 0])],
  ['transpose of five axes', [2, 3, 4, 2, 3], (x) => tf.transpose(x, [4, 2, 0, 3, 1])],
  ['tile', [2, 3], (x) => tf.tile(x, [2, 3])],
  ['tile of four axes', [2, 1, 3, 2], (x) => tf.tile(x, [2, 3, 1, 2])],
  ['broadcastTo', [2, 1, 3], (x) => tf.broadcastTo(x, [4, 2, 5, 3])],
  ['pad', [3, 5], (x) => tf.pad(x, [[1, 2], [0, 3]], 1)], // biome-ignore format: pairs
  ['pad of nothing', [0, 2], (x) => tf.pad(x, [[1, 0], [1, 1]])], // biome-ignore format: pairs
  ['concat with itself', [2, 3], (x) => tf.concat([x, x, x], 1)],
  ['concat of rows', [2, 8], (x) => tf.concat([x, tf.reverse(x, 0)], 0)],
  ['concat of different sizes', [2, 3, 4], (x) => tf.concat([x, tf.slice(x, [0, 1, 0], [2, 2, 4])], 1)],
  ['stack', [2, 3], (x) => tf.stack([x, x], 1)],
  ['unstack', [3, 4], (x) => tf.unstack(x, 1)],
  ['unstack of rows', [3, 4], (x) => tf.unstack(x)],
  ['split', [4, 6], (x) => tf.split(x, 3, 1)],
  ['split by sizes', [6, 8], (x) => tf.split(x, [1, 2, 3], 0)],
  ['expandDims', [3, 4], (x) => tf.expandDims(x, -1)],
  ['reshape', [3, 4], (x) => tf.reshape(x, [2, -1])],
  ['zerosLike', [3, 4], (x) => tf.zerosLike(x)],
  ['onesLike', [3, 4], (x) => tf.onesLike(x)],
];

describeCuda('moving elements', () => {
  it.each(MOVES)('%s', async (name, shape, f) => {
    for (const kind of KINDS) {
      await expectAsOnCpu(name, f, [{ shape, kind }]);
    }
  });

  it('casts between dtypes', async () => {
    for (const from of KINDS) {
      for (const to of ['float32', 'int32', 'bool'] as const) {
        await expectAsOnCpu(`cast to ${to}`, (x) => tf.cast(x, to), [{ shape: [33], kind: from }]);
        await expectAsOnCpu(`cast to ${to}`, (x) => tf.cast(x, to), [{ shape: [], kind: from }]);
      }
    }
  });

  it('makes ranges, linear spaces and filled tensors', async () => {
    await expectAsOnCpu('range', () => tf.range(3, 20, 2, 'int32'), []);
    await expectAsOnCpu('range', () => tf.range(1, -1, -0.25), []);
    await expectAsOnCpu('range', () => tf.range(4, -2), []);
    await expectAsOnCpu('linspace', () => tf.linspace(-1, 1, 7), []);
    for (const dtype of ['float32', 'int32', 'bool'] as const) {
      await expectAsOnCpu('fill', () => tf.fill([5, 7], 1, dtype), []);
      await expectAsOnCpu('fill', () => tf.fill([], 1, dtype), []);
    }
    await expectAsOnCpu('fill', () => tf.fill([9], Number.NaN), []);
    await expectAsOnCpu('diag', tf.diag as (x: tf.Tensor) => tf.Tensor, [{ shape: [5] }]);
  });

  it('slices in steps to fewer axes, which the cpu backend gets wrong', () => {
    tf.tidy(() => {
      const x = tf.tensor(
        Float32Array.from({ length: 20 }, (_, n) => n),
        [4, 5],
      );
      const part = tf.stridedSlice(x, [1, 0], [2, 5], [1, 2], 0, 0, 0, 0, 1);
      expect(part.shape).toEqual([3]);
      expect([...part.dataSync()]).toEqual([5, 7, 9]);
    });
  });

  it('selects, by element and by row', async () => {
    const select = (c: tf.Tensor, a: tf.Tensor, b: tf.Tensor) => tf.where(c as tf.Tensor<tf.Rank>, a, b);
    for (const [a, b] of [
      ['f32', 'f32'],
      ['bf16', 'bf16'],
      ['bf16', 'f32'],
      ['i32', 'i32'],
    ] as [Kind, Kind][]) {
      await expectAsOnCpu('where', select, [
        { shape: [3, 8], kind: 'bool' },
        { shape: [3, 8], kind: a },
        { shape: [3, 8], kind: b },
      ]);
    }
    await expectAsOnCpu('where', select, [
      { shape: [3, 1], kind: 'bool' },
      { shape: [3, 5] },
      { shape: [], values: [-1] },
    ]);
  });

  it('gives rows that are aligned without copying, and leaves their tensor alive', () => {
    tf.tidy(() => {
      const x = tf.tensor(
        Float32Array.from({ length: 32 }, (_, n) => n),
        [8, 4],
      );
      const before = cuda().launches.kernels;
      const rows = tf.slice(x, [2, 0], [2, 4]);
      expect(cuda().launches.kernels).toBe(before);
      expect(cuda().address(rows)).toBe(cuda().address(x) + 32);
      x.dispose();
      expect([...rows.dataSync()]).toEqual([8, 9, 10, 11, 12, 13, 14, 15]);
    });
  });
});
