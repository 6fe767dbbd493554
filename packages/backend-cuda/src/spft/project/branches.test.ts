/** @file The low-rank branches of layers in bf16 against the cpu backend: ranks and widths that one pass takes, and such as it does not. */
import { type FrozenLayer, projectColumns, projectRows } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, it } from 'vitest';
import { cuda, describeCuda } from '../../../test/cuda.js';
import { bf16, expectOp, f32, i32 } from '../../../test/ops.js';

type M = tf.Tensor2D;

const USUAL = { masksBelow: 2 ** 32, skinnyFrom: 2 ** 21, copiesBranchesInBulk: true };
afterEach(() => {
  Object.assign(cuda(), USUAL);
});

describeCuda('branches in bf16', () => {
  const expectRows = (T: number, inputs: number, outs: readonly number[], ranks: readonly number[]) => {
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
  };

  it.each([
    // tokens, inputs, outputs and ranks of the layers
    [1, 8, [8], [8]],
    [65, 24, [264], [32]],
    [130, 40, [520, 136, 136], [32, 32, 32]],
    [300, 16, [256, 8, 48], [8, 24, 16]],
    [130, 8, [1032, 512], [32, 24]],
    [70, 24, [40, 40], [40, 64]],
    [67, 16, [40, 24, 24], [8, 0, 16]],
    // Not in one pass: a rank too large, widths and ranks that are no multiples of 8, four layers.
    [66, 16, [40], [72]],
    [66, 16, [42, 24], [8, 8]],
    [66, 16, [40, 24], [8, 3]],
    [66, 16, [24, 24, 24, 24], [8, 8, 8, 8]],
    [0, 16, [24, 24], [8, 8]],
  ])('projectRows() of [%i, %i] to %j with ranks %j, and its gradients', expectRows);

  it.each([
    [65, [264], [32]],
    [130, [520, 136, 136], [32, 8, 32]],
  ])('the same of %i rows to %j with ranks %j, not copied in bulk', (T, outs, ranks) => {
    cuda().copiesBranchesInBulk = false;
    return expectRows(T, 16, outs, ranks);
  });

  it.each([
    [1, [264], [8]],
    [4, [264], [8]],
    [5, [520, 136], [32, 16]],
  ])(
    'the same where a block has several tiles of rows, as all of %i multiprocessors have blocks: to %j with ranks %j',
    async (multiprocessors, outs, ranks) => {
      // On a GPU of many it would take millions of numbers to keep them all at work.
      const info = cuda().device.info as { multiprocessors: number };
      const own = info.multiprocessors;
      info.multiprocessors = multiprocessors;
      try {
        await expectRows(332, 8, outs, ranks);
      } finally {
        info.multiprocessors = own;
      }
    },
  );

  /** One layer's y and the gradients of x, residual, A and B, with kept channels for the rows after the first D. */
  const ofLayer =
    (op: (x: M, residual: M, layer: FrozenLayer) => M, total: number) =>
    (x: M, residual: M, weight: M, bias: tf.Tensor1D, indices: tf.Tensor1D, dy: M, a: M, b: M) => {
      const keep = { indices, kept: indices.size, total };
      const run = (x: tf.Tensor, residual: tf.Tensor, a: tf.Tensor, b: tf.Tensor) =>
        op(x as M, residual as M, { weight, bias, keep, lora: { a: a as M, b: b as M, scaling: 0.5 } });
      const loss = (...inputs: [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]) =>
        tf.sum(tf.mul(tf.cast(run(...inputs), 'float32'), dy)) as tf.Scalar;
      return [run(x, residual, a, b), ...tf.grads(loss as never)([x, residual, a, b])];
    };
  const inputsOf = (T: number, inputs: number, out: number, rank: number, indices: readonly number[]) => [
    ...[bf16(T, inputs), bf16(T, out), bf16(out, inputs), bf16(out), i32(...indices), bf16(T, out)],
    ...[f32(rank, inputs), f32(out, rank)],
  ];

  it.each([
    // tokens, dense rows, inputs, outputs, rank; whether channels are gathered, and few dense rows made beside the others
    [70, 70, 24, 40, 8, false],
    [70, 21, 24, 136, 16, false],
    [66, 0, 40, 264, 3, false],
    [5, 2, 11, 13, 8, false],
    [70, 21, 24, 136, 16, true],
    [66, 0, 40, 264, 3, true],
    [80, 70, 11, 13, 8, true],
  ])(
    'add to a residual and to kept columns: %i tokens, %i dense, [%i] to [%i], rank %i, as of large layers: %j',
    async (T, D, inputs, out, rank, large) => {
      if (large) Object.assign(cuda(), { masksBelow: 0, skinnyFrom: 0 });
      const [columns, rows] = [inputs, out].map((n) =>
        Array.from({ length: n }, (_, i) => i).filter((i) => i % 3 !== 1),
      );
      const onColumns = ofLayer((x, residual, layer) => projectColumns(x, residual, layer, D), inputs);
      await expectOp('projectColumns', inputsOf(T, inputs, out, rank, columns!), onColumns as never);
      const onRows = ofLayer((x, residual, layer) => tf.add(projectRows(x, [layer], D)[0]!, residual), out);
      await expectOp('projectRows', inputsOf(T, inputs, out, rank, rows!), onRows as never);
    },
  );
});
