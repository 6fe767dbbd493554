/**
 * @file Attention over packed sequences as loops, for `cpu` only (wasm multiplies with XNNPACK: packed-attention-wasm.ts). Measured on 640
 * tokens in 12 sequences, N = 6, K = 2, d = 32 (ms, composition → here):
 * forward 650 → 52, backward 550 → 70.
 */
import type * as tf from '@tensorflow/tfjs';
import type { AttentionAttributes } from '../../contract/layers.js';
import type { HostArray, HostKernel } from './host-kernel.js';

const like = ({ shape }: tf.TensorInfo) => ({ shape, dtype: 'float32' as const });

/** Places of one query and of the keys (and values) that it sees, and their probabilities; the arrays are used again for the next. */
interface Query {
  readonly query: number;
  readonly seen: number;
  readonly keys: Int32Array;
  readonly probabilities: Float64Array;
}

/** Calls `visit` for each sequence, head and query. */
function eachQuery(
  q: HostArray,
  k: HostArray,
  { layout, heads }: AttentionAttributes,
  visit: (query: Query) => void,
): void {
  const { heads: N, kvHeads: K, headDim: d } = heads;
  const { sequenceStarts, rowOfToken, tokens } = layout;
  const [keys, probabilities] = [new Int32Array(tokens), new Float64Array(tokens)];
  const scale = 1 / Math.sqrt(d);
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    const first = sequenceStarts[b]!;
    for (let n = 0; n < N; n++) {
      const kvHead = Math.floor((n * K) / N);
      for (let seen = 1; first + seen <= sequenceStarts[b + 1]!; seen++) {
        const row = rowOfToken[first + seen - 1]!;
        const query = (row * N + n) * d;
        keys[seen - 1] = (row * K + kvHead) * d;
        let highest = -Infinity;
        for (let j = 0; j < seen; j++) {
          const key = keys[j]!;
          let dot = 0;
          for (let i = 0; i < d; i++) dot += q[query + i]! * k[key + i]!;
          probabilities[j] = dot * scale;
          highest = Math.max(highest, dot * scale);
        }
        let total = 0;
        for (let j = 0; j < seen; j++) {
          const weight = Math.exp(probabilities[j]! - highest);
          probabilities[j] = weight;
          total += weight;
        }
        for (let j = 0; j < seen; j++) probabilities[j]! /= total;
        visit({ query, seen, keys, probabilities });
      }
    }
  }
}

export const packedAttentionOnHost: HostKernel<'SpftPackedAttention'> = {
  backends: ['cpu'],
  outputs: ({ q }) => like(q!),
  run: ({ q, k, v }, [y], attributes) => {
    const d = attributes.heads.headDim;
    y!.fill(0);
    eachQuery(q!, k!, attributes, ({ query, seen, keys, probabilities }) => {
      for (let j = 0; j < seen; j++) {
        const [value, p] = [keys[j]!, probabilities[j]!];
        for (let i = 0; i < d; i++) y![query + i]! += p * v![value + i]!;
      }
    });
  },
};

export const packedAttentionGradOnHost: HostKernel<'SpftPackedAttentionGrad'> = {
  backends: ['cpu'],
  outputs: ({ q, k, v }) => [like(q!), like(k!), like(v!)],
  run: ({ q, k, v, dy }, [dq, dk, dv], attributes) => {
    const d = attributes.heads.headDim;
    const scale = 1 / Math.sqrt(d);
    const dp = new Float64Array(attributes.layout.tokens);
    for (const gradient of [dq!, dk!, dv!]) gradient.fill(0);
    eachQuery(q!, k!, attributes, ({ query, seen, keys, probabilities }) => {
      let mean = 0;
      for (let j = 0; j < seen; j++) {
        const value = keys[j]!;
        let dot = 0;
        for (let i = 0; i < d; i++) dot += dy![query + i]! * v![value + i]!;
        dp[j] = dot;
        mean += dot * probabilities[j]!;
      }
      for (let j = 0; j < seen; j++) {
        const [key, p] = [keys[j]!, probabilities[j]!];
        const ds = p * (dp[j]! - mean) * scale;
        for (let i = 0; i < d; i++) {
          dq![query + i]! += ds * k![key + i]!;
          dk![key + i]! += ds * q![query + i]!;
          dv![key + i]! += p * dy![query + i]!;
        }
      }
    });
  },
};
