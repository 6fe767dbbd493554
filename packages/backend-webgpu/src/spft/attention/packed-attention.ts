/** @file Causal attention over the sequences of a packed batch, in blocks; no scores are kept, but for log Σ exp of each row and head. */

import type { AttentionAttributes, PackedLayout } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';
import { type Backend, type Call, f32, output, sizeOf, withScratch, words } from '../../shared/call.js';

/** Bytes of a workgroup's memory for blocks of so many tokens: three of them with a quad of numbers to spare in each row, and their scores. */
const bytesOf = (block: number, headDim: number) =>
  16 * (3 * block * (Math.ceil(headDim / 4) + 1) + block * (block / 4 + 1));

/** The largest block for which a workgroup has room. */
function blockFor(backend: Backend, headDim: number): number {
  const most = backend.device.limits.maxComputeWorkgroupStorageSize;
  return [32, 16, 8].find((block) => bytesOf(block, headDim) <= most) ?? 4;
}

interface Lists {
  readonly block: number;
  readonly lists: Int32Array;
  readonly blocks: number;
}

/** Every layer of a step asks for those of the same layout. */
const known = new WeakMap<PackedLayout, Lists>();

/** The row of each packed token, then of each block of a sequence: the sequence's start and end, the block's start. */
function listsOf(layout: PackedLayout, block: number): Lists {
  const found = known.get(layout);
  if (found?.block === block) return found;
  const { sequenceStarts: starts, rowOfToken } = layout;
  const blocks: number[] = [];
  for (let b = 0; b + 1 < starts.length; b++) {
    for (let first = starts[b]!; first < starts[b + 1]!; first += block) blocks.push(starts[b]!, starts[b + 1]!, first);
  }
  const lists = new Int32Array(rowOfToken.length + blocks.length);
  lists.set(rowOfToken);
  lists.set(blocks, rowOfToken.length);
  const made = { block, lists, blocks: blocks.length / 3 };
  known.set(layout, made);
  return made;
}

/** What all shaders of a call are told. */
function setting(backend: Backend, attributes: AttentionAttributes) {
  const { heads, kvHeads, headDim } = attributes.heads;
  const block = blockFor(backend, headDim);
  const params = words(attributes.layout.tokens, heads, kvHeads, f32(1 / Math.sqrt(headDim)));
  return { ...listsOf(attributes.layout, block), constants: { BLOCK: block, HEAD_DIM: headDim }, params };
}

function attention({ backend, inputs: { q, k, v }, attributes }: Call<'SpftPackedAttention'>): tf.TensorInfo[] {
  const { heads } = attributes.heads;
  const T = attributes.layout.tokens;
  const [y, logSums] = [output(backend, q.shape), output(backend, [T, heads])];
  if (T > 0) {
    const { lists, blocks, constants, params } = setting(backend, attributes);
    backend.dispatch('attention', constants, params, [q, k, v, lists, y, logSums], [blocks, heads]);
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
  const { lists, blocks, constants, params } = setting(backend, attributes);
  withScratch(backend, [2 * T * heads], (rows) => {
    const size = sizeOf([T, heads]);
    const sums = [y!, dy, kept0!, rows!];
    backend.dispatch('attention-sums', {}, words(size, headDim), sums, [Math.ceil(size / 64)]);
    backend.dispatch('attention-grad-q', constants, params, [q, k, v, dy, rows!, lists, dq], [blocks, heads]);
    backend.dispatch('attention-grad-kv', constants, params, [q, k, v, dy, rows!, lists, dk, dv], [blocks, kvHeads]);
  });
  return made;
}

export const packedAttentionKernels = {
  SpftPackedAttention: attention,
  SpftPackedAttentionGrad: attentionGrad,
};
