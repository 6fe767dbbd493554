/** @file Plain loops that say the same as packed-attention.ts, one sequence, head and query at a time. */
import type { HeadLayout, PackedLayout } from '../contract/types.js';

/** Calls `visit` for each (sequence, query head, query) with its rows and the probabilities of the keys that it sees. */
function eachQuery(
  q: Float32Array,
  k: Float32Array,
  layout: PackedLayout,
  { heads: N, kvHeads: K, headDim: d }: HeadLayout,
  visit: (at: { query: number; keys: number[]; probabilities: number[] }) => void,
): void {
  for (let b = 0; b + 1 < layout.sequenceStarts.length; b++) {
    for (let n = 0; n < N; n++) {
      const kv = Math.floor(n / (N / K));
      for (let token = layout.sequenceStarts[b]!; token < layout.sequenceStarts[b + 1]!; token++) {
        const query = (layout.rowOfToken[token]! * N + n) * d;
        const keys: number[] = [];
        for (let other = layout.sequenceStarts[b]!; other <= token; other++) {
          keys.push((layout.rowOfToken[other]! * K + kv) * d);
        }
        const scores = keys.map((key) => {
          let dot = 0;
          for (let i = 0; i < d; i++) dot += q[query + i]! * k[key + i]!;
          return dot / Math.sqrt(d);
        });
        const highest = Math.max(...scores);
        const weights = scores.map((s) => Math.exp(s - highest));
        const total = weights.reduce((a, b) => a + b, 0);
        visit({ query, keys, probabilities: weights.map((w) => w / total) });
      }
    }
  }
}

/** y of one query = Σ over the keys it sees of probability · value. */
export function packedAttentionReference(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  layout: PackedLayout,
  heads: HeadLayout,
): Float32Array {
  const y = new Float32Array(q.length);
  eachQuery(q, k, layout, heads, ({ query, keys, probabilities }) => {
    keys.forEach((key, j) => {
      for (let i = 0; i < heads.headDim; i++) y[query + i]! += probabilities[j]! * v[key + i]!;
    });
  });
  return y;
}

/** The gradient, from dS = P ⊙ (dP − Σ P·dP). */
export function packedAttentionGradReference(
  q: Float32Array,
  k: Float32Array,
  v: Float32Array,
  dy: Float32Array,
  layout: PackedLayout,
  heads: HeadLayout,
): { dq: Float32Array; dk: Float32Array; dv: Float32Array } {
  const d = heads.headDim;
  const [dq, dk, dv] = [new Float32Array(q.length), new Float32Array(k.length), new Float32Array(v.length)];
  eachQuery(q, k, layout, heads, ({ query, keys, probabilities }) => {
    const dp = keys.map((key) => {
      let dot = 0;
      for (let i = 0; i < d; i++) dot += dy[query + i]! * v[key + i]!;
      return dot;
    });
    const mean = dp.reduce((sum, x, j) => sum + x * probabilities[j]!, 0);
    keys.forEach((key, j) => {
      const ds = (probabilities[j]! * (dp[j]! - mean)) / Math.sqrt(d);
      for (let i = 0; i < d; i++) {
        dq[query + i]! += ds * k[key + i]!;
        dk[key + i]! += ds * q[query + i]!;
        dv[key + i]! += probabilities[j]! * dy[query + i]!;
      }
    });
  });
  return { dq, dk, dv };
}
