/**
 * @file Causal grouped-query attention over the sequences of a packed batch, softmax(q·kᵀ/√d)·v with its own backward.
 *
 * Rows come and go in the layout's row order; the way to packed order and back is inside the op. The composition pads sequences to the
 * longest of the batch, so that a batch is a handful of tfjs ops whatever its size: a query of a sequence sees no key after itself, hence
 * no padding, and rows of padding get no gradient. Only q, k and v are kept for the backward, which recomputes the probabilities as flash
 * attention does (Dao et al. 2022, arXiv:2205.14135): T·N·S floats a layer would be the largest thing kept of it.
 */
import * as tf from '@tensorflow/tfjs';
import type { HeadLayout, PackedLayout } from '../contract/types.js';
import { batchedProduct } from '../engine/batched-matmul.js';
import { runOp } from '../engine/op.js';
import { recordOp } from '../engine/record-op.js';
import { sharing } from '../engine/tfjs-kernels.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { packedAttentionGradOnHost, packedAttentionOnHost } from '../kernels/host/packed-attention.js';
import { packedAttentionGradOnWasm, packedAttentionOnWasm } from '../kernels/host/packed-attention-wasm.js';
import { registerWasmKernel } from '../kernels/host/wasm-heap.js';

registerHostKernel('SpftPackedAttention', packedAttentionOnHost);
registerHostKernel('SpftPackedAttentionGrad', packedAttentionGradOnHost);
registerWasmKernel('SpftPackedAttention', packedAttentionOnWasm);
registerWasmKernel('SpftPackedAttentionGrad', packedAttentionGradOnWasm);

/** Index tensors between row order and [B, S] padded packed order, S the longest sequence. */
interface Padding {
  readonly B: number;
  readonly S: number;
  /** int32 [B·S] row of each padded place; places past a sequence's end repeat its last token. */
  readonly rowOfPlace: tf.Tensor1D;
  /** int32 [T] padded place of each row. */
  readonly placeOfRow: tf.Tensor1D;
  /** [B·S, 1] 1 where there is a token, 0 where there is padding. */
  readonly real: tf.Tensor2D;
  /** [1, S, S] 0 where a query sees a key, −1e30 elsewhere. */
  readonly causal: tf.Tensor3D;
}

function makePadding(layout: PackedLayout): Padding {
  const { sequenceStarts: starts, rowOfToken } = layout;
  const B = starts.length - 1;
  let S = 0;
  for (let b = 0; b < B; b++) S = Math.max(S, starts[b + 1]! - starts[b]!);
  const rowOfPlace = new Int32Array(B * S);
  const placeOfRow = new Int32Array(layout.tokens);
  const real = new Float32Array(B * S);
  for (let b = 0; b < B; b++) {
    const length = starts[b + 1]! - starts[b]!;
    for (let s = 0; s < S; s++) {
      const row = rowOfToken[starts[b]! + Math.min(s, length - 1)]!;
      rowOfPlace[b * S + s] = row;
      if (s < length) {
        placeOfRow[row] = b * S + s;
        real[b * S + s] = 1;
      }
    }
  }
  const causal = new Float32Array(S * S);
  for (let i = 0; i < S; i++) causal.fill(-1e30, i * S + i + 1, (i + 1) * S);
  return {
    B,
    S,
    rowOfPlace: tf.tensor1d(rowOfPlace, 'int32'),
    placeOfRow: tf.tensor1d(placeOfRow, 'int32'),
    real: tf.tensor2d(real, [B * S, 1]),
    causal: tf.tensor3d(causal, [1, S, S]),
  };
}

/** [T, heads·d] in row order → [B·K, heads/K·S, d], the heads of a group below each other. */
function toGroups(x: tf.Tensor2D, { B, S, rowOfPlace }: Padding, { kvHeads, headDim }: HeadLayout, mask?: tf.Tensor2D) {
  const heads = x.shape[1] / headDim;
  const places = tf.gather(x, rowOfPlace);
  const padded = mask ? tf.mul(places, mask) : places;
  const byHead = tf.transpose(tf.reshape(padded, [B, S, heads, headDim]), [0, 2, 1, 3]);
  return tf.reshape(byHead, [B * kvHeads, (heads / kvHeads) * S, headDim]) as tf.Tensor3D;
}

/** The way back: [B·K, heads/K·S, d] → [T, heads·d] in row order. */
function toRows(x: tf.Tensor3D, { B, S, placeOfRow }: Padding, { kvHeads, headDim }: HeadLayout): tf.Tensor2D {
  const heads = (x.shape[1] / S) * kvHeads;
  const byPlace = tf.transpose(tf.reshape(x, [B, heads, S, headDim]), [0, 2, 1, 3]);
  return tf.gather(tf.reshape(byPlace, [B * S, heads * headDim]), placeOfRow) as tf.Tensor2D;
}

/** softmax(q·kᵀ/√d) [B·K, G·S, S] of grouped queries and keys. */
function probabilities(q: tf.Tensor3D, k: tf.Tensor3D, { S, causal }: Padding, headDim: number): tf.Tensor3D {
  const scores = tf.mul(batchedProduct(q, k, false, true), 1 / Math.sqrt(headDim));
  const masked = tf.add(tf.reshape(scores, [-1, S, S]), causal);
  return tf.reshape(tf.softmax(masked), scores.shape as [number, number, number]);
}

function forward(q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D, layout: PackedLayout, heads: HeadLayout): tf.Tensor2D {
  if (layout.tokens === 0) return tf.zerosLike(q);
  const padding = makePadding(layout);
  const p = probabilities(toGroups(q, padding, heads), toGroups(k, padding, heads), padding, heads.headDim);
  return toRows(batchedProduct(p, toGroups(v, padding, heads)), padding, heads);
}

function backward(
  [q, k, v, dy]: readonly [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D],
  layout: PackedLayout,
  heads: HeadLayout,
): tf.Tensor2D[] {
  if (layout.tokens === 0) return [tf.zerosLike(q), tf.zerosLike(k), tf.zerosLike(v)];
  const padding = makePadding(layout);
  const [qs, ks, vs] = [toGroups(q, padding, heads), toGroups(k, padding, heads), toGroups(v, padding, heads)];
  const dOut = toGroups(dy, padding, heads, padding.real);
  const p = probabilities(qs, ks, padding, heads.headDim);
  const dv = batchedProduct(p, dOut, true, false);
  const dp = batchedProduct(dOut, vs, false, true);
  const weighted = tf.mul(p, dp);
  const ds = tf.mul(
    tf.sub(weighted, tf.mul(p, tf.sum(weighted, 2, true))),
    1 / Math.sqrt(heads.headDim),
  ) as tf.Tensor3D;
  return [batchedProduct(ds, ks), batchedProduct(ds, qs, true, false), dv].map((g) => toRows(g, padding, heads));
}

/** @throws RangeError, in the name of `op`, when the shapes do not fit. */
export function checkAttention(
  op: string,
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  layout: PackedLayout,
  { heads: N, kvHeads: K, headDim: d }: HeadLayout,
): void {
  if (N % K !== 0) throw new RangeError(`${op}: ${N} query heads cannot share ${K} key/value heads evenly`);
  for (const [name, x, width] of [
    ['q', q, N * d],
    ['k', k, K * d],
    ['v', v, K * d],
  ] as const) {
    if (x.rank !== 2 || x.shape[0] !== layout.tokens || x.shape[1] !== width) {
      throw new RangeError(
        `${op}: ${name} [${x.shape}] must be [${layout.tokens}, ${width}]: a row for each token of the layout`,
      );
    }
  }
}

/**
 * @param q [T, N·d], rotated already; head n attends with key/value head floor(n / G).
 * @param k [T, K·d].
 * @param v [T, K·d].
 * @returns [T, N·d] in row order, owned by the caller. Differentiable in q, k and v.
 * @throws RangeError when the shapes do not fit.
 */
export function packedAttention(
  q: tf.Tensor2D,
  k: tf.Tensor2D,
  v: tf.Tensor2D,
  layout: PackedLayout,
  heads: HeadLayout,
): tf.Tensor2D {
  checkAttention('packedAttention', q, k, v, layout, heads);
  const [y] = recordOp<[tf.Tensor2D]>({
    name: 'SpftPackedAttention',
    inputs: { q, k, v },
    saves: [q, k, v],
    run() {
      const [y, ...kept] = runOp('SpftPackedAttention', { q, k, v }, { layout, heads }, () => [
        forward(q, k, v, layout, heads),
      ]);
      // A kernel that gives more than the output wants all of it back.
      return { outputs: [y], kept: kept.length > 0 ? [sharing(y), ...kept] : [] };
    },
    gradient([dy], [q, k, v, y, ...kept]) {
      const inputs = { q: q!, k: k!, v: v!, dy: dy!, ...(y && { y }) };
      const others = Object.fromEntries(kept.map((t, n) => [`kept${n}`, t]));
      const [dq, dk, dv] = runOp('SpftPackedAttentionGrad', { ...inputs, ...others }, { layout, heads }, () =>
        backward([q, k, v, dy] as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D], layout, heads),
      );
      return { q: dq, k: dk, v: dv };
    },
  });
  return y;
}
