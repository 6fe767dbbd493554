import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d, valuesOf } from '../../test/selections.js';
import { packTokens } from '../tokens/token-partition.js';
import { packedAttentionGradReference, packedAttentionReference } from './packed-attention.reference.js';
import { ropeReference } from './rope.reference.js';
import { ropeAttention } from './rope-attention.js';

const heads = { heads: 4, kvHeads: 2, headDim: 6 };
const layout = packTokens({ lengths: [5, 1, 3], dense: (t) => t % 3 === 1 });
const { tokens: T } = layout;

describe.each(PATHS)('ropeAttention() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  const setUp = () => {
    const [q, k, v] = [random2d(T, 24, 1), random2d(T, 12, 2), random2d(T, 12, 3)];
    const angles = random2d(T, 3, 4);
    const tables = { cos: tf.cos(angles) as tf.Tensor2D, sin: tf.sin(angles) as tf.Tensor2D };
    const attend = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) =>
      ropeAttention(q as tf.Tensor2D, k as tf.Tensor2D, v as tf.Tensor2D, tables, layout, heads);
    return { q, k, v, tables, attend };
  };

  it('equals its references, and its gradients too', () => {
    const { q, k, v, tables, attend } = setUp();
    const [cos, sin] = [valuesOf(tables.cos), valuesOf(tables.sin)];
    const turned = (x: Float32Array, n: number) => ropeReference(x, cos, sin, T, n, 6);
    const back = (x: Float32Array, n: number) =>
      ropeReference(
        x,
        cos,
        Float32Array.from(sin, (s) => -s),
        T,
        n,
        6,
      );
    const [tq, tk] = [turned(valuesOf(q), 4), turned(valuesOf(k), 2)];
    expectAllClose('y', attend(q, k, v), packedAttentionReference(tq, tk, valuesOf(v), layout, heads));
    const dy = random2d(T, 24, 5);
    const [dq, dk, dv] = tf.grads(attend)([q, k, v], dy);
    const expected = packedAttentionGradReference(tq, tk, valuesOf(v), valuesOf(dy), layout, heads);
    expectAllClose('dq', dq!, back(expected.dq, 4), TOLERANCE.gradient);
    expectAllClose('dk', dk!, back(expected.dk, 2), TOLERANCE.gradient);
    expectAllClose('dv', dv!, expected.dv, TOLERANCE.gradient);
  });

  it('leaves one tensor, and none after its gradients', async () => {
    const { q, k, v, attend } = setUp();
    await expectNoLeak(() => tf.tidy(() => attend(q, k, v)), 1);
    await expectNoLeak(() => tf.dispose(tf.grads(attend)([q, k, v])));
  });

  it('says what it wanted when the shapes do not fit', () => {
    const { q, k, v, tables } = setUp();
    expect(() => ropeAttention(q, k, v, { ...tables, cos: tables.cos.slice([0, 0], [T, 2]) }, layout, heads)).toThrow(
      `cos [${T},2]`,
    );
    expect(() => ropeAttention(q, k, tf.zeros([T, 6]), tables, layout, heads)).toThrow(`v [${T},6] must be`);
  });
});
