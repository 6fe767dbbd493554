/** @file Causal attention over the sequences of a packed batch, in blocks; no scores are kept, but for log Σ exp of each row and head. */

import type { AttentionAttributes } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import { type Backend, type Call, f32, forEach, output, sizeOf, withScratch, words } from '../../shared/call.js';

/** Bytes of a workgroup's memory for blocks of so many tokens: three of them with a quad of numbers to spare in each row, and their scores. */
const bytesOf = (block: number, headDim: number) =>
  16 * (3 * block * (Math.ceil(headDim / 4) + 1) + block * (block / 4 + 1));

/** The largest block for which a workgroup has room. */
function blockFor(backend: Backend, headDim: number): number {
  const most = backend.device.limits.maxComputeWorkgroupStorageSize;
  return [32, 16, 8].find((block) => bytesOf(block, headDim) <= most) ?? 4;
}

function longestOf(starts: Int32Array): number {
  let longest = 0;
  for (let b = 0; b + 1 < starts.length; b++) longest = Math.max(longest, starts[b + 1]! - starts[b]!);
  return longest;
}

/** Workgroups from which on a GPU is busy: each has few lanes, and waits for memory most of the time. */
const ENOUGH = 512;
/** Splits of a block's work at most: what each of them writes is read again. */
const MOST_SPLITS = 8;

/** What all shaders of a call are told. */
function setting(backend: Backend, attributes: AttentionAttributes) {
  const { tokens, sequenceStarts, rowOfToken, longest = longestOf(sequenceStarts) } = attributes.layout;
  const { heads, kvHeads, headDim } = attributes.heads;
  const block = blockFor(backend, headDim);
  const sequences = sequenceStarts.length - 1;
  // As many as there can be: each sequence ends in a block that may have one token.
  const blocks = Math.floor((tokens + sequences * (block - 1)) / block);
  // As many as the longest sequence has blocks, where all blocks of all heads are too few.
  const most = Math.min(MOST_SPLITS, Math.ceil(longest / block));
  const splits = Math.max(1, Math.min(most, Math.ceil(ENOUGH / Math.max(1, blocks * heads))));
  const params = words(tokens, heads, kvHeads, f32(1 / Math.sqrt(headDim)), splits, sequences);
  const lists = [sequenceStarts, rowOfToken];
  return { lists, blocks, constants: { BLOCK: block, HEAD_DIM: headDim }, params, splits };
}

/** y = the sum of `parts` tensors of its size that lie behind each other, from a place on. */
function addUp(backend: Backend, parts: number, x: tf.TensorInfo, y: tf.TensorInfo, from = 0): void {
  const size = sizeOf(y.shape);
  forEach(backend, 'sum-parts', [size, parts, size, size, 0, from], [x, y]);
}

function attention({ backend, inputs: { q, k, v }, attributes }: Call<'SpftPackedAttention'>): tf.TensorInfo[] {
  const { heads, headDim } = attributes.heads;
  const T = attributes.layout.tokens;
  const [y, logSums] = [output(backend, q.shape), output(backend, [T, heads])];
  if (T > 0) {
    const { lists, blocks, constants, params, splits } = setting(backend, attributes);
    const run = (y: tf.TensorInfo, logSums: tf.TensorInfo) =>
      backend.dispatch('attention', constants, params, [q, k, v, ...lists, y, logSums], [blocks, heads, splits]);
    const [size, rows] = [sizeOf(y.shape), T * heads];
    if (splits === 1) run(y, logSums);
    else {
      withScratch(backend, [splits * size, splits * rows], (ys, sums) => {
        run(ys!, sums!);
        forEach(backend, 'attention-merge', [size, headDim, splits], [ys!, sums!, y, logSums]);
      });
    }
  }
  return [y, logSums];
}

function attentionGrad(call: Call<'SpftPackedAttentionGrad'>): tf.TensorInfo[] {
  const { backend, attributes } = call;
  const { q, k, v, dy, y, kept0 } = call.inputs;
  const { heads, kvHeads, headDim } = attributes.heads;
  const T = attributes.layout.tokens;
  const made = [q, k, v].map(({ shape }) => output(backend, shape));
  const [dq, dk, dv] = made as [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo];
  if (T === 0) return made;
  const { lists, blocks, constants, params, splits } = setting(backend, attributes);
  const parts = (splits * heads) / kvHeads;
  const [ofQ, ofK] = [sizeOf(dq.shape), sizeOf(dk.shape)];
  withScratch(backend, [2 * T * heads, splits > 1 ? splits * ofQ : 0, 2 * parts * ofK], (rows, queries, keys) => {
    const size = sizeOf([T, heads]);
    const sums = [y!, dy, kept0!, rows!];
    backend.dispatch('attention-sums', {}, words(size, headDim), sums, [Math.ceil(size / 64)]);
    const given = [q, k, v, dy, rows!, ...lists];
    const toQ = splits > 1 ? queries! : dq;
    backend.dispatch('attention-grad-q', constants, params, [...given, toQ], [blocks, heads, splits]);
    backend.dispatch('attention-grad-kv', constants, params, [...given, keys!], [blocks, kvHeads, parts]);
    if (splits > 1) addUp(backend, splits, toQ, dq);
    addUp(backend, parts, keys!, dk);
    addUp(backend, parts, keys!, dv, parts * ofK);
  });
  return made;
}

export const packedAttentionKernels = {
  SpftPackedAttention: attention,
  SpftPackedAttentionGrad: attentionGrad,
};
