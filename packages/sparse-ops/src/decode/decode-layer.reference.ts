/** @file Plain loops that say the same as decode-layer.ts. */
import { ropeReference } from '../attention/rope.reference.js';
import type { HeadLayout } from '../contract/types.js';
import { swigluReference } from '../mlp/swiglu.reference.js';
import { rmsNormReference } from '../norm/rms-norm.reference.js';
import { linearReference } from '../project/linear.reference.js';

/** A weight [out, in] and its bias [out]. */
export interface PlainWeight {
  readonly weight: Float32Array;
  readonly bias: Float32Array | null;
}

export interface PlainDecoderLayer {
  readonly inputNorm: Float32Array;
  readonly postAttentionNorm: Float32Array;
  readonly weights: Readonly<Record<'q' | 'k' | 'v' | 'o' | 'gate' | 'up' | 'down', PlainWeight>>;
  readonly heads: HeadLayout;
  readonly eps: number;
}

/**
 * @param x [B, H]. @param cos, @param sin [B, d/2]. @param positions [B]. @param cache keys and values, each [B, C, K·d].
 * @returns y [B, H], and keys and values with those of the tokens.
 */
export function decodeLayerReference(
  x: Float32Array,
  { inputNorm, postAttentionNorm, weights, heads, eps }: PlainDecoderLayer,
  cos: Float32Array,
  sin: Float32Array,
  positions: ArrayLike<number>,
  cache: { readonly keys: Float32Array; readonly values: Float32Array },
): { y: Float32Array; keys: Float32Array; values: Float32Array } {
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const B = positions.length;
  const H = inputNorm.length;
  const times = (input: Float32Array, { weight, bias }: PlainWeight, inputs: number) =>
    linearReference(input, weight, bias, B, inputs, weight.length / inputs);
  const normed = rmsNormReference(x, inputNorm, eps, B, H);
  const q = ropeReference(times(normed, weights.q, H), cos, sin, B, N, d);
  const k = ropeReference(times(normed, weights.k, H), cos, sin, B, K, d);
  const v = times(normed, weights.v, H);
  const [keys, values] = [cache.keys.slice(), cache.values.slice()];
  const C = B === 0 ? 0 : keys.length / (B * K * d);
  const mixed = new Float32Array(B * N * d);
  for (let b = 0; b < B; b++) {
    const position = positions[b]!;
    keys.set(k.subarray(b * K * d, (b + 1) * K * d), (b * C + position) * K * d);
    values.set(v.subarray(b * K * d, (b + 1) * K * d), (b * C + position) * K * d);
    for (let n = 0; n < N; n++) {
      const of = Math.floor(n / (N / K));
      const place = (j: number) => ((b * C + j) * K + of) * d;
      const scores = Array.from({ length: position + 1 }, (_, j) => {
        let dot = 0;
        for (let i = 0; i < d; i++) dot += q[(b * N + n) * d + i]! * keys[place(j) + i]!;
        return dot / Math.sqrt(d);
      });
      const most = Math.max(...scores);
      const weighed = scores.map((s) => Math.exp(s - most));
      const total = weighed.reduce((sum, w) => sum + w, 0);
      for (let i = 0; i < d; i++) {
        let sum = 0;
        for (let j = 0; j <= position; j++) sum += weighed[j]! * values[place(j) + i]!;
        mixed[(b * N + n) * d + i] = sum / total;
      }
    }
  }
  const attended = times(mixed, weights.o, N * d).map((a, n) => a + x[n]!);
  const h = rmsNormReference(attended, postAttentionNorm, eps, B, H);
  const activations = swigluReference(times(h, weights.gate, H), times(h, weights.up, H));
  const I = weights.gate.weight.length / H;
  const y = times(activations, weights.down, I).map((a, n) => a + attended[n]!);
  return { y, keys, values };
}
