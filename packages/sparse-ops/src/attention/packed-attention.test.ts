import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectGradients } from '../../../../test/support/gradients.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import type { HeadLayout } from '../contract/types.js';
import { packTokens } from '../tokens/token-partition.js';
import { packedAttention } from './packed-attention.js';
import { packedAttentionGradReference, packedAttentionReference } from './packed-attention.reference.js';

const random = (shape: [number, number], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed) as tf.Tensor2D;
const values = (t: tf.Tensor) => t.dataSync() as Float32Array;
const setUp = (lengths: number[], heads: HeadLayout) => {
  const layout = packTokens({ lengths, dense: (t) => t % 3 === 1 });
  const [n, kv] = [heads.heads * heads.headDim, heads.kvHeads * heads.headDim];
  const [q, k, v] = [random([layout.tokens, n], 1), random([layout.tokens, kv], 2), random([layout.tokens, kv], 3)];
  const attention = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) =>
    packedAttention(q as tf.Tensor2D, k as tf.Tensor2D, v as tf.Tensor2D, layout, heads);
  return { layout, q, k, v, attention };
};

const CASES: [string, number[], HeadLayout][] = [
  ['no token', [], { heads: 2, kvHeads: 1, headDim: 4 }],
  ['one token, one head', [1], { heads: 1, kvHeads: 1, headDim: 2 }],
  ['unequal sequences, one head', [3, 1, 6], { heads: 1, kvHeads: 1, headDim: 3 }],
  ['as many key as query heads', [5, 2], { heads: 3, kvHeads: 3, headDim: 4 }],
  ['grouped queries', [2, 7, 4], { heads: 6, kvHeads: 2, headDim: 5 }],
  ['all queries on one key head', [4, 9], { heads: 4, kvHeads: 1, headDim: 8 }],
  ['sequences longer than a tile of queries', [70, 2, 131], { heads: 2, kvHeads: 1, headDim: 4 }],
  ['sequences of several blocks of keys, and a last query alone', [289, 129], { heads: 3, kvHeads: 1, headDim: 6 }],
  ['equal sequences', [6, 6, 6], { heads: 4, kvHeads: 2, headDim: 4 }],
];

describe.each(PATHS)('packedAttention() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each(CASES)('equals its reference, and its gradients too: %s', (_, lengths, heads) => {
    const { layout, q, k, v, attention } = setUp(lengths, heads);
    const expected = packedAttentionReference(values(q), values(k), values(v), layout, heads);
    expectAllClose('y', attention(q, k, v), expected);
    const dy = random(q.shape, 4);
    const [dq, dk, dv] = tf.grads(attention)([q, k, v], dy);
    const gradients = packedAttentionGradReference(values(q), values(k), values(v), values(dy), layout, heads);
    expectAllClose('dq', dq!, gradients.dq, TOLERANCE.gradient);
    expectAllClose('dk', dk!, gradients.dk, TOLERANCE.gradient);
    expectAllClose('dv', dv!, gradients.dv, TOLERANCE.gradient);
  });

  it('has the gradients of finite differences', () => {
    const { q, k, v, attention } = setUp([3, 1], { heads: 2, kvHeads: 1, headDim: 2 });
    expectGradients('packedAttention', attention, [q, k, v]);
  });

  it('gives the same whatever lies in other sequences', () => {
    const heads = { heads: 2, kvHeads: 2, headDim: 4 };
    const { layout, q, k, v, attention } = setUp([4, 5], heads);
    const first = packTokens({ lengths: [4], dense: () => true });
    const rows = tf.tensor1d([...layout.rowOfToken.subarray(0, 4)], 'int32');
    const [q1, k1, v1] = [q, k, v].map((x) => tf.gather(x, rows)) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
    expectAllClose('alone', packedAttention(q1, k1, v1, first, heads), tf.gather(attention(q, k, v), rows));
  });

  it('survives scores far beyond what exp can take', () => {
    const { q, k, v, attention } = setUp([4], { heads: 1, kvHeads: 1, headDim: 2 });
    expect(values(attention(tf.mul(q, 1e3), k, v)).every(Number.isFinite)).toBe(true);
  });

  it('leaves one tensor, and none after its gradients', async () => {
    const { q, k, v, attention } = setUp([3, 2], { heads: 4, kvHeads: 2, headDim: 2 });
    await expectNoLeak(() => attention(q, k, v), 1);
    await expectNoLeak(() => tf.dispose(tf.grads(attention)([q, k, v])));
  });

  it('says what it wanted when the shapes do not fit', () => {
    const { layout, q, k, v } = setUp([3, 2], { heads: 4, kvHeads: 2, headDim: 2 });
    const attend = (heads: HeadLayout, kv = k) => packedAttention(q, kv, v, layout, heads);
    expect(() => attend({ heads: 4, kvHeads: 3, headDim: 2 })).toThrow('4 query heads cannot share 3 key/value heads');
    expect(() => attend({ heads: 2, kvHeads: 2, headDim: 2 })).toThrow('q [5,8] must be [5, 4]');
    expect(() => attend({ heads: 4, kvHeads: 2, headDim: 2 }, tf.zeros([4, 4]))).toThrow('k [4,4] must be [5, 4]');
  });
});
