/** @file Optimizer steps on `cuda`: where new values go, and what is kept up to date with them. */
import { adamwUpdate, globalNorm, loraLinear, sgdUpdate, zeroMoments } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { describeCuda } from '../../../test/cuda.js';
import { bf16, cudaTensor, expectOp, f32 } from '../../../test/ops.js';

const SHAPES = [[3], [8192], [1], [0, 4], [70, 241], [2, 2]];

describeCuda('optimizers', () => {
  it.each(['adamw', 'sgd'] as const)('%s of tensors of all sizes is what the cpu backend makes', async (method) => {
    const inputs = SHAPES.flatMap((shape) => [f32(...shape), f32(...shape)]);
    await expectOp(
      method,
      inputs,
      (...tensors: tf.Tensor[]) => {
        const parameters = SHAPES.map((_, n) => tf.variable(tensors[2 * n]!));
        const gradients = SHAPES.map((_, n) => tensors[2 * n + 1]!);
        const [m, v] = [zeroMoments(parameters), zeroMoments(parameters)];
        for (let step = 1; step <= 2; step++) {
          const common = { learningRate: 0.1, weightDecay: 0.01, gradientScale: globalNorm(gradients.slice(0, 1)) };
          if (method === 'sgd') sgdUpdate(parameters, gradients, { momenta: m }, { ...common, momentum: 0.9 });
          else adamwUpdate(parameters, gradients, { firstMoments: m, secondMoments: v }, { ...common, step });
        }
        const results = [...parameters, ...m].map((variable) => tf.clone(variable as tf.Tensor));
        tf.dispose([parameters, m, v]);
        return results;
      },
      { tolerance: 1e-5 },
    );
  });

  it('writes into variables that nobody else uses, and leaves copies as they were', () => {
    const p = tf.tidy(() => tf.variable(tf.tensor1d([1, 2, 3])));
    const state = { firstMoments: zeroMoments([p]), secondMoments: zeroMoments([p]) };
    const g = tf.tensor1d([1, -1, 1]);
    const update = (step: number) => adamwUpdate([p], [g], state, { learningRate: 0.5, step });
    const before = p.dataId;
    update(1);
    expect(p.dataId).toBe(before);
    expect(p.dataSync()[0]).toBeCloseTo(0.5, 4);
    const copy = p.clone();
    update(2);
    expect(p.dataId).not.toBe(before);
    expect(copy.dataSync()[0]).toBeCloseTo(0.5, 4);
    expect(p.dataSync()[0]).toBeCloseTo(0, 4);
    tf.dispose([p, copy, g, state.firstMoments, state.secondMoments]);
  });

  it('keeps a parameter in bf16 up to date, also one of a single number from the host', () => {
    const [x, base] = [cudaTensor([1, 2], bf16(1, 2), 0), cudaTensor([0], bf16(1, 1), 0)] as [tf.Tensor2D, tf.Tensor2D];
    const [a, b] = tf.tidy(() => [tf.variable(tf.tensor2d([[1, 1]])), tf.variable(tf.tensor2d([[3]]))] as const);
    const forward = () => tf.tidy(() => loraLinear(x, base, a as tf.Tensor2D, b as tf.Tensor2D, 1).dataSync()[0]);
    expect(forward()).toBe(9);
    const gradients = [tf.tensor2d([[1, -1]]), tf.tensor2d([[1]])];
    for (const expected of [(0.5 + 3) * 2.5, (0 + 4) * 2]) {
      sgdUpdate([a, b], gradients, { momenta: [] }, { learningRate: 0.5 });
      expect(forward()).toBe(expected);
    }
    tf.dispose([x, base, a, b, gradients]);
  });

  it.each([[[[0]]], [[[5], [0, 3], [9000], [2, 2]]]])('globalNorm() of %j', async (shapes) => {
    const norm = (...tensors: tf.Tensor[]) => globalNorm(tensors);
    await expectOp(
      'globalNorm',
      (shapes as number[][]).map((shape) => f32(...shape)),
      norm,
      { tolerance: 1e-5 },
    );
    await expectOp(
      'globalNorm',
      (shapes as number[][]).map((shape) => bf16(...shape)),
      norm,
      { tolerance: 1e-5 },
    );
  });
});
