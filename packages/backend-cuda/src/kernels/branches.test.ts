/** @file The low-rank branches of layers in bf16 against the cpu backend: ranks and widths that one pass takes, and such as it does not. */
import { type FrozenLayer, projectRows } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { it } from 'vitest';
import { describeCuda } from '../../test/cuda.js';
import { bf16, expectOp, f32 } from '../../test/ops.js';

type M = tf.Tensor2D;

describeCuda('branches in bf16', () => {
  it.each([
    // tokens, inputs, outputs and ranks of the layers
    [1, 8, [8], [8]],
    [65, 24, [264], [32]],
    [130, 40, [520, 136, 136], [32, 32, 32]],
    [300, 16, [256, 8, 48], [8, 24, 16]],
    [70, 24, [40, 40], [40, 64]],
    [67, 16, [40, 24, 24], [8, 0, 16]],
    // Not in one pass: a rank too large, widths and ranks that are no multiples of 8, four layers.
    [66, 16, [40], [72]],
    [66, 16, [42, 24], [8, 8]],
    [66, 16, [40, 24], [8, 3]],
    [66, 16, [24, 24, 24, 24], [8, 8, 8, 8]],
    [0, 16, [24, 24], [8, 8]],
  ])('projectRows() of [%i, %i] to %j with ranks %j, and its gradients', (T, inputs, outs, ranks) => {
    const trained = ranks.flatMap((rank, n) => (rank ? [f32(rank, inputs), f32(outs[n]!, rank)] : []));
    const run = (x: M, ...rest: M[]) => {
      const [weights, dys] = [rest.splice(0, outs.length), rest.splice(0, outs.length)];
      const ysOf = (x: M, adapters: readonly M[]) => {
        let next = 0;
        const layers = weights.map((weight, n): FrozenLayer => {
          const lora = ranks[n]! > 0 ? { a: adapters[next++]!, b: adapters[next++]!, scaling: 0.25 + n } : null;
          return { weight, bias: null, keep: null, lora };
        });
        return projectRows(x, layers, T);
      };
      const loss = (x: tf.Tensor, ...adapters: tf.Tensor[]) =>
        tf.addN(
          ysOf(x as M, adapters as M[]).map((y, n) => tf.sum(tf.mul(tf.cast(y, 'float32'), dys[n]!))),
        ) as tf.Scalar;
      return [...ysOf(x, rest), ...tf.grads(loss)([x, ...rest])];
    };
    const tensors = [bf16(T, inputs), ...outs.map((out) => bf16(out, inputs)), ...outs.map((out) => bf16(T, out))];
    return expectOp('projectRows', [...tensors, ...trained], run as never);
  });
});
