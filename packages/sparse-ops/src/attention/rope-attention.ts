/**
 * @file Attention whose queries and keys are turned by their positions first. A backend's kernel may turn both at once, and turn their gradients back where it
 * writes them; without one it is `rope` of each and `packedAttention`.
 */
import type * as tf from '@tensorflow/tfjs';
import type { HeadLayout, PackedLayout } from '../contract/types.js';
import { hasKernel, runKernel } from '../engine/op.js';
import { recordOp } from '../engine/record-op.js';
import { sharing } from '../engine/tfjs-kernels.js';
import { checkAttention, packedAttention } from './packed-attention.js';
import { checkRope, rope } from './rope.js';

/** cos and sin of each row's position, each [T, d/2]; constant (`ropeRows`). */
export interface RotaryTables {
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
}

/**
 * packedAttention(rope(q), rope(k), v).
 * @param q [T, N·d], not rotated; head n attends with key/value head floor(n / G).
 * @param k [T, K·d], not rotated.
 * @param v [T, K·d].
 * @param tables in row order.
 * @returns [T, N·d] in row order, owned by the caller. Differentiable in q, k and v.
 * @throws RangeError when the shapes do not fit.
 */
export function ropeAttention(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  { cos, sin }: RotaryTables,
  layout: PackedLayout,
  heads: HeadLayout,
): tf.Tensor2D {
  const { headDim } = heads;
  if (!hasKernel('SpftRopeAttention') || !hasKernel('SpftRopeAttentionGrad')) {
    const [turnedQ, turnedK] = [rope(q, cos, sin, headDim), rope(k, cos, sin, headDim)];
    return packedAttention(turnedQ, turnedK, v, layout, heads);
  }
  checkAttention('ropeAttention', q, k, v, layout, heads);
  for (const x of [q, k]) checkRope('ropeAttention', x, cos, sin, headDim);
  const [y] = recordOp<[tf.Tensor2D]>({
    name: 'SpftRopeAttention',
    inputs: { q, k, v },
    saves: [v, cos, sin],
    run() {
      const [y, ...kept] = runKernel('SpftRopeAttention', { q, k, v, cos, sin }, { layout, heads });
      return { outputs: [y], kept: [sharing(y), ...kept] };
    },
    gradient([dy], [v, cos, sin, y, ...kept]) {
      const others = Object.fromEntries(kept.map((t, n) => [`kept${n}`, t]));
      const inputs = { v: v!, y: y!, dy: dy!, cos: cos!, sin: sin!, ...others };
      const [dq, dk, dv] = runKernel('SpftRopeAttentionGrad', inputs, { layout, heads });
      return { q: dq, k: dk, v: dv };
    },
  });
  return y;
}
