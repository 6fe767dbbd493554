/** @file Branches of q and k that are added where these are turned: the same bits as one after the other, whoever reads what and when. */
import { type FrozenLayer, packTokens, projectRows, ropeAttention } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { cuda, describeCuda } from '../../../test/cuda.js';
import { bf16, cudaTensor, expectOp, f32, type OpInput } from '../../../test/ops.js';

type M = tf.Tensor2D;
type Reading = 'nothing' | 'q before' | 'q after' | 'all before';

const HEADS = [
  [{ heads: 2, kvHeads: 1, headDim: 128 }, 70, true],
  [{ heads: 6, kvHeads: 3, headDim: 64 }, 9, true],
  // Halves of heads that are no multiple of eight, heads that are more than a block has: turned by a launch of their own.
  [{ heads: 4, kvHeads: 2, headDim: 24 }, 9, false],
  [{ heads: 2, kvHeads: 1, headDim: 256 }, 9, false],
] as const;

const filled = (input: OpInput, of: (n: number) => number): OpInput => {
  const size = input.shape.reduce((product, n) => product * n, 1);
  return { ...input, values: Array.from({ length: size }, (_, n) => of(n)) };
};

const valuesOf = (inputs: readonly OpInput[]): tf.Tensor[] => {
  let next = 0;
  return inputs.map((input) => {
    const size = input.shape.reduce((product, n) => product * n, 1);
    return cudaTensor(
      Array.from({ length: size }, () => Math.sin(next++)),
      input,
      0,
    );
  });
};

describeCuda('branches of queries and keys', () => {
  it.each(HEADS)('are added where %j of %i tokens are turned: %s', async (heads, length, within) => {
    const { heads: N, kvHeads: K, headDim: d } = heads;
    const layout = packTokens({ lengths: [length, 3], dense: (t) => t % 3 === 1 });
    const [T, inputs, rank, D] = [layout.tokens, 40, 8, layout.denseTokens];
    const outs = [N * d, K * d, K * d];
    const tables = [Math.cos, Math.sin].map((of) => filled(f32(T, d / 2), (n) => of(n)));
    // Small enough that no softmax is of one key alone: then all is rounding.
    const tensors = [
      ...[bf16(T, inputs), ...outs.map((out) => filled(bf16(out, inputs), (n) => 0.08 * Math.sin(1.7 * n * n)))],
      ...[...tables, bf16(T, N * d), ...outs.flatMap((out) => [f32(rank, inputs), f32(out, rank)])],
    ];
    const kept = outs.map((out) => Array.from({ length: out }, (_, n) => n).filter((n) => n % 3 > 0));
    const indices = kept.map((of) => tf.tensor1d(of, 'int32').arraySync());

    const run =
      (turnedNext: boolean, sparse: boolean, reading: Reading = 'nothing') =>
      (x: M, wq: M, wk: M, wv: M, cos: M, sin: M, dy: M, ...adapters: M[]) => {
        const attend = (x: M, adapters: readonly M[]) => {
          const layers = [wq, wk, wv].map((weight, n): FrozenLayer => {
            const keep = { indices: tf.tensor1d(indices[n]!, 'int32'), kept: kept[n]!.length, total: outs[n]! };
            const lora = { a: adapters[2 * n]!, b: adapters[2 * n + 1]!, scaling: 0.03 };
            return { weight, bias: null, keep: sparse ? keep : null, lora };
          });
          const [q, k, v] = projectRows(x, layers, D, { turnedNext }) as [M, M, M];
          const read = reading === 'nothing' ? [] : reading === 'all before' ? [q, k, v] : [q];
          const before = reading.endsWith('before') ? read.map((t) => t.dataSync()) : [];
          const y = ropeAttention(q, k, v, { cos, sin }, layout, heads);
          const after = read.map((t) => t.dataSync());
          if (before.length > 0) expect(after).toEqual(before);
          return [y, ...after.map((values) => tf.tensor1d(values as Float32Array))];
        };
        const loss = (x: tf.Tensor, ...adapters: tf.Tensor[]) =>
          tf.sum(tf.mul(tf.cast(attend(x as M, adapters as M[])[0]!, 'float32'), dy)) as tf.Scalar;
        return [...attend(x, adapters), ...tf.grads(loss)([x, ...adapters])];
      };
    const bitsOf = (f: ReturnType<typeof run>, made: tf.Tensor[]) => {
      const results = tf.tidy(() => f(...(made as Parameters<typeof f>)));
      const bits = results.map((t) => Buffer.from(t.dataSync().buffer).toString('base64'));
      tf.dispose(results);
      return bits;
    };
    const masksBelow = cuda().masksBelow;
    try {
      for (const [sparse, below] of [
        [false, masksBelow],
        [true, 0],
        [true, masksBelow],
      ] as const) {
        // Kept channels gathered, or masked.
        cuda().masksBelow = below;
        const besideBelow = cuda().besideBelow;
        for (const beside of [besideBelow, 0]) {
          cuda().besideBelow = beside;
          await expectOp('attention of projections', tensors, run(true, sparse) as never, { tolerance: 5e-2 });
          const made = valuesOf(tensors);
          const whole = bitsOf(run(true, sparse, 'all before'), made);
          expect(bitsOf(run(true, sparse), made)).toEqual([whole[0], ...whole.slice(4)]);
          for (const reading of ['q before', 'q after'] as const)
            expect(bitsOf(run(true, sparse, reading), made)).toEqual([whole[0], whole[1], ...whole.slice(4)]);
          const profile = cuda().profile(() => bitsOf(run(true, sparse), made));
          const calls = (of: string) => profile.find(({ name }) => name === of)?.calls ?? 0;
          // Not where large products leave no room beside them, unless channels are gathered.
          const pending = (sparse && below === 0) || beside > 0;
          expect([calls('rope') > 0, calls('branch_outputs')]).toEqual([!(within && pending), 2]);
          tf.dispose(made);
        }
        cuda().besideBelow = besideBelow;
      }
    } finally {
      cuda().masksBelow = masksBelow;
    }
  });
});
