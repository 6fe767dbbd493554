/** @file Norms, rotation, gating and dropout in bf16 against the cpu backend. */
import { dropout, rmsNorm, rope, swiglu } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { describeCuda } from '../../test/cuda.js';
import { bf16, expectOp, f32 } from '../../test/ops.js';

type M = tf.Tensor2D;

describeCuda('token-wise ops in bf16', () => {
  it.each([
    [0, 8],
    [3, 1],
    [2, 37],
    [3, 64],
    [2, 1000],
    [2, 4096],
    [2, 4101],
    // More rows than blocks are at work at once.
    [150, 1600],
    [90, 2050],
  ])('rmsNorm() of %i rows of %i', async (T, H) => {
    const both = (x: M, w: tf.Tensor1D, dy: M) => [
      rmsNorm(x, w, 1e-5),
      tf.grad((x) => rmsNorm(x as M, w, 1e-5))(x, dy),
    ];
    await expectOp('rmsNorm', [bf16(T, H), bf16(H), bf16(T, H)], both, { physical: ['bf16', 'bf16'] });
    await expectOp('rmsNorm', [bf16(T, H), f32(H), f32(T, H)], both, { physical: ['bf16', 'bf16'] });
    await expectOp('rmsNorm', [f32(T, H), bf16(H), f32(T, H)], both, { physical: ['f32', 'f32'], tolerance: 1e-4 });
  });

  it('rmsNorm() of rows too long for the registers', () =>
    expectOp(
      'rmsNorm',
      [bf16(1, 33000), bf16(33000), bf16(1, 33000)],
      (x: M, w: tf.Tensor1D, dy: M) => [rmsNorm(x, w, 1e-5), tf.grad((x) => rmsNorm(x as M, w, 1e-5))(x, dy)],
      { physical: ['bf16', 'bf16'] },
    ));

  it.each([
    [5, 2, 16],
    [3, 3, 6],
    [2, 5, 64],
    [0, 2, 16],
  ])('rope() of %i rows, %i heads of %i, and its gradient', (T, heads, d) => {
    const turn = (x: M, c: M, s: M, dy: M) => [rope(x, c, s, d), tf.grad((x) => rope(x as M, c, s, d))(x, dy)];
    const inputs = [bf16(T, heads * d), f32(T, d / 2), f32(T, d / 2), bf16(T, heads * d)];
    return expectOp('rope', inputs, turn, { physical: ['bf16', 'bf16'] });
  });

  it.each([
    [0, 8],
    [3, 5],
    [7, 300],
  ])('swiglu() of [%i, %i] and its gradients', (T, n) => {
    const gated = (gate: M, up: M, dy: M) => [
      swiglu(gate, up),
      ...tf.grads((g, u) => swiglu(g as M, u as M))([gate, up], dy),
    ];
    return expectOp('swiglu', [bf16(T, n), bf16(T, n), bf16(T, n)], gated, { physical: ['bf16', 'bf16', 'bf16'] });
  });

  it.each([0.1, 0.5, 0.999])('dropout() at rate %f drops what the cpu backend drops', async (rate) => {
    const dropped = (x: tf.Tensor) => dropout(x, rate, -12345);
    await expectOp('dropout', [bf16(7, 43)], dropped, { physical: ['bf16'] });
    await expectOp('dropout', [f32(7, 43)], dropped, { physical: ['f32'], tolerance: 1e-6 });
    const zeros = dropout(tf.ones([1000]), rate, 7)
      .dataSync()
      .filter((v) => v === 0).length;
    await tf.setBackend('cpu');
    const expected = dropout(tf.ones([1000]), rate, 7)
      .dataSync()
      .filter((v) => v === 0).length;
    await tf.setBackend('cuda');
    expect(zeros).toBe(expected);
  });
});
