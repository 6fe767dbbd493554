/** @file Products with bias and activation, Einstein's sums, sums of many, random numbers. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { expectAsOnCpu, SEED } from '../../test/compare.js';
import { cuda, describeCuda } from '../../test/cuda.js';
import { randomTensor } from '../random.js';

const LOOSE = { tolerance: 1e-5 };

describeCuda('composed kernels', () => {
  it('matMul broadcasts its batches', async () => {
    for (const [a, b] of [
      [
        [3, 4],
        [4, 5],
      ],
      [
        [2, 3, 4],
        [2, 4, 5],
      ],
      [
        [1, 3, 4],
        [2, 4, 5],
      ],
      [
        [2, 2, 3, 4],
        [2, 4, 5],
      ],
      [
        [0, 4],
        [4, 5],
      ],
      [
        [3, 0],
        [0, 5],
      ],
    ] as [number[], number[]][]) {
      await expectAsOnCpu('matMul', (x, y) => tf.matMul(x, y), [{ shape: a }, { shape: b }], LOOSE);
    }
    const transposed = (x: tf.Tensor, y: tf.Tensor) => tf.matMul(x, y, true, true);
    await expectAsOnCpu('matMul', transposed, [{ shape: [2, 4, 3] }, { shape: [2, 5, 4] }], LOOSE);
  });

  it('matMul broadcasts batches of both operands, which the cpu backend gets wrong', async () => {
    const product = (x: tf.Tensor, y: tf.Tensor) => {
      if (tf.getBackend() === 'cuda') return tf.matMul(x, y);
      return tf.matMul(tf.broadcastTo(x, [2, 3, 3, 4]), tf.broadcastTo(y, [2, 3, 4, 5]));
    };
    await expectAsOnCpu('matMul', product, [{ shape: [2, 1, 3, 4] }, { shape: [1, 3, 4, 5] }], LOOSE);
    const square = (x: tf.Tensor, y: tf.Tensor) => {
      if (tf.getBackend() === 'cuda') return tf.matMul(x, y);
      return tf.matMul(tf.broadcastTo(x, [2, 2, 3, 4]), tf.broadcastTo(y, [2, 2, 4, 5]));
    };
    await expectAsOnCpu('matMul', square, [{ shape: [2, 1, 3, 4] }, { shape: [1, 2, 4, 5] }], LOOSE);
  });

  it('matMul of int32 is int32', () => {
    const inputs = [
      { shape: [3, 4], kind: 'i32' as const },
      { shape: [4, 5], kind: 'i32' as const },
    ];
    return expectAsOnCpu('matMul', (x, y) => tf.matMul(x, y), inputs);
  });

  it('reads a tensor that is disposed of meanwhile', async () => {
    const x = tf.tensor([1, 2, 3]);
    const read = x.data();
    x.dispose();
    expect([...(await read)]).toEqual([1, 2, 3]);
  });

  it('matMul with bias and activation', async () => {
    for (const activation of ['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu'] as const) {
      const fused = (a: tf.Tensor, b: tf.Tensor, bias: tf.Tensor) =>
        tf.fused.matMul({ a, b, transposeA: false, transposeB: true, bias, activation, leakyreluAlpha: 0.3 });
      await expectAsOnCpu(activation, fused, [{ shape: [3, 4] }, { shape: [5, 4] }, { shape: [5] }], LOOSE);
    }
  });

  it('einsum', async () => {
    for (const [equation, a, b] of [
      ['ij,jk->ik', [3, 4], [4, 5]],
      ['bij,bjk->bik', [2, 3, 4], [2, 4, 2]],
      ['ij,ij->', [3, 4], [3, 4]],
      ['i,j->ji', [3], [4]],
      ['bhqd,bhkd->bhqk', [1, 2, 3, 4], [1, 2, 5, 4]],
    ] as [string, number[], number[]][]) {
      await expectAsOnCpu(equation, (x, y) => tf.einsum(equation, x, y), [{ shape: a }, { shape: b }], LOOSE);
    }
    await expectAsOnCpu('ij->i', (x) => tf.einsum('ij->i', x), [{ shape: [3, 4] }], LOOSE);
  });

  it('addN', () => {
    const inputs = [0, 1, 2, 3].map(() => ({ shape: [3, 5] }));
    return expectAsOnCpu('addN', (...x) => tf.addN(x), inputs);
  });

  it('random numbers repeat by seed and have their distribution', () => {
    tf.tidy(() => {
      for (const physical of ['f32', 'bf16'] as const) {
        const normal = randomTensor([40001], { seed: SEED, distribution: 'normal', physical, mean: 1, deviation: 0.5 });
        expect(cuda().physical(normal)).toBe(physical);
        expect([...normal.dataSync()]).toEqual([
          ...randomTensor([40001], {
            seed: SEED,
            distribution: 'normal',
            physical,
            mean: 1,
            deviation: 0.5,
          }).dataSync(),
        ]);
        const { mean, variance } = tf.moments(normal);
        expect(mean.dataSync()[0]).toBeCloseTo(1, 1);
        expect(variance.dataSync()[0]).toBeCloseTo(0.25, 1);
      }
      const uniform = randomTensor([40000], { seed: 3, distribution: 'uniform', deviation: 2 });
      expect(tf.max(uniform).dataSync()[0]).toBeLessThanOrEqual(2 * Math.sqrt(3));
      expect(tf.min(uniform).dataSync()[0]).toBeGreaterThanOrEqual(-2 * Math.sqrt(3));
      expect(tf.mean(uniform).dataSync()[0]).toBeCloseTo(0, 1);
      expect(randomTensor([0], { seed: 1, distribution: 'normal' }).shape).toEqual([0]);
    });
  });

  it('multinomial draws what is likely', () => {
    tf.tidy(() => {
      const drawn = tf.multinomial(
        tf.tensor2d([
          [-50, 9, -50],
          [9, -50, -50],
        ]),
        8,
        5,
      );
      expect(drawn.dtype).toBe('int32');
      expect([...drawn.dataSync()]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
  });
});
