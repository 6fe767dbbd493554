/** @file Top-k, gathers, scatters and one-hot rows against the cpu backend. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { expectAsOnCpu, type Kind, random, SEED } from '../../test/compare.js';
import { describeCuda } from '../../test/cuda.js';

const KINDS: readonly Kind[] = ['f32', 'bf16', 'i32'];
const topK = (k: number) => (x: tf.Tensor) => {
  const { values, indices } = tf.topk(x, k, true);
  return [values, indices];
};

/** Indices below `count`, from the seed. */
function indicesOf(size: number, count: number): number[] {
  const next = random(SEED + 1);
  return Array.from({ length: size }, () => Math.floor(next() * count));
}

describeCuda('indexing', () => {
  it('topk gives the greatest in order, the lower index first among equals', async () => {
    for (const kind of KINDS) {
      await expectAsOnCpu('topk', topK(7), [{ shape: [3, 33], kind }]);
      await expectAsOnCpu('topk', topK(20), [{ shape: [2, 2, 20], kind, range: [0, 4] }]);
    }
    await expectAsOnCpu('topk', topK(1), [{ shape: [4, 1] }]);
    await expectAsOnCpu('topk', topK(5000), [{ shape: [2, 5000] }]);
    const equal = Array.from({ length: 9000 }, (_, n) => n % 5);
    await expectAsOnCpu('topk', topK(300), [{ shape: [9000], values: equal }]);
    await expectAsOnCpu('topk', topK(4), [{ shape: [6], values: [-Infinity, 0, -0, Infinity, 1e-40, -3] }]);
  });

  it('topk of a vocabulary', async () => {
    await expectAsOnCpu('topk', topK(50), [{ shape: [1, 100003] }]);
  }, 120_000);

  it('gathers along every axis and by batch', async () => {
    for (const kind of [...KINDS, 'bool'] as Kind[]) {
      const gather =
        (axis: number, batchDims = 0) =>
        (x: tf.Tensor, i: tf.Tensor) =>
          tf.gather(x, i as tf.Tensor1D, axis, batchDims);
      const x = { shape: [5, 6, 8], kind };
      await expectAsOnCpu('gather', gather(0), [x, { shape: [4], kind: 'i32', values: indicesOf(4, 5) }]);
      await expectAsOnCpu('gather', gather(1), [x, { shape: [2, 3], kind: 'i32', values: indicesOf(6, 6) }]);
      await expectAsOnCpu('gather', gather(2), [x, { shape: [9], kind: 'i32', values: indicesOf(9, 8) }]);
      await expectAsOnCpu('gather', gather(1, 1), [x, { shape: [5, 2], kind: 'i32', values: indicesOf(10, 6) }]);
      await expectAsOnCpu('gather', gather(2, 1), [x, { shape: [5, 2], kind: 'i32', values: indicesOf(10, 8) }]);
      await expectAsOnCpu('gather', gather(0), [x, { shape: [0], kind: 'i32' }]);
    }
  });

  it('gathers by index vectors', async () => {
    const i = { shape: [3, 2], kind: 'i32' as Kind, values: indicesOf(6, 4) };
    for (const kind of KINDS) {
      await expectAsOnCpu('gatherND', (x, j) => tf.gatherND(x, j), [{ shape: [4, 4, 3], kind }, i]);
      await expectAsOnCpu('gatherND', (x, j) => tf.gatherND(x, j), [{ shape: [4, 4], kind }, i]);
    }
  });

  it('scatters, adding what meets', async () => {
    const places = { shape: [6, 1], kind: 'i32' as Kind, values: [3, 1, 3, 0, 3, 1] };
    for (const kind of KINDS) {
      const scatter = (i: tf.Tensor, u: tf.Tensor) => tf.scatterND(i, u, [5, 4]);
      await expectAsOnCpu('scatterND', scatter, [places, { shape: [6, 4], kind }]);
    }
    const apart = { shape: [3, 2], kind: 'i32' as Kind, values: [0, 1, 2, 2, 1, 0] };
    const update = (x: tf.Tensor, i: tf.Tensor, u: tf.Tensor) => tf.tensorScatterUpdate(x, i as tf.Tensor<tf.Rank>, u);
    await expectAsOnCpu('tensorScatterUpdate', update, [{ shape: [3, 3] }, apart, { shape: [3] }]);
    const dense = (i: tf.Tensor, v: tf.Tensor) => tf.sparseToDense(i, v, [3, 3], 7);
    await expectAsOnCpu('sparseToDense', dense, [apart, { shape: [3], kind: 'f32' }]);
    await expectAsOnCpu('sparseToDense', (i, v) => tf.sparseToDense(i, v, [9], 0), [
      { shape: [3], kind: 'i32', values: [2, 4, 8] },
      { shape: [] },
    ]);
  });

  it('sums segments, and has the gradient of gather', async () => {
    const segments = (x: tf.Tensor, i: tf.Tensor) => tf.unsortedSegmentSum(x, i as tf.Tensor1D, 4);
    const i = { shape: [50], kind: 'i32' as Kind, values: indicesOf(50, 4) };
    await expectAsOnCpu('unsortedSegmentSum', segments, [{ shape: [50, 3] }, i], { tolerance: 1e-5 });
    const gradient = (x: tf.Tensor, j: tf.Tensor) => tf.grad((y) => tf.square(tf.gather(y, j as tf.Tensor1D)))(x);
    await expectAsOnCpu('gradient of gather', gradient, [{ shape: [4, 8] }, i], { tolerance: 1e-5 });
  });

  it('one-hot rows', async () => {
    const i = { shape: [2, 5], kind: 'i32' as Kind, values: [0, 3, -1, 4, 2, 1, 9, 0, 3, 3] };
    await expectAsOnCpu('oneHot', (x) => tf.oneHot(x as tf.Tensor1D, 4), [i]);
    await expectAsOnCpu('oneHot', (x) => tf.oneHot(x as tf.Tensor1D, 4, 0.5, -1, 'float32'), [i]);
    await expectAsOnCpu('oneHot', (x) => tf.oneHot(x as tf.Tensor1D, 4, 1, 0, 'bool'), [i]);
  });

  it('an index out of range gives zeros', () => {
    tf.tidy(() => {
      const rows = tf.gather(tf.ones([3, 2]), tf.tensor1d([1, 7, -1], 'int32'));
      expect([...rows.dataSync()]).toEqual([1, 1, 0, 0, 0, 0]);
    });
  });
});
