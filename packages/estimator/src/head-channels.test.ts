import { type ChannelSelection, type HeadLayout, topKSelection } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { combineQueryKeyScores, outputColumns, queryChannels } from './head-channels.js';
import { randomNormals } from './random.js';
import { keptPerHead, selectChannels, selectChannelsPerHead } from './select-channels.js';
import { combineReference, queryReference, topPerHeadReference, topReference } from './svd.reference.js';

const LAYOUTS: HeadLayout[] = [
  { heads: 4, kvHeads: 4, headDim: 5 },
  { heads: 4, kvHeads: 2, headDim: 6 },
  { heads: 9, kvHeads: 3, headDim: 4 },
  { heads: 8, kvHeads: 1, headDim: 16 },
];
const COMPATS = ['corrected', 'reference'] as const;
const CASES = LAYOUTS.flatMap((layout) => COMPATS.map((compat) => [JSON.stringify(layout), compat, layout] as const));

const positive = (n: number, seed: number) => randomNormals(n, seed).map(Math.abs);
const indicesOf = (keep: ChannelSelection | null) => keep && [...keep.indices.dataSync()];

describe.each(TEST_BACKENDS)('head channels on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(CASES)('combineQueryKeyScores() equals its reference for %s, %s', (_, compat, layout) => {
    const [q, k] = [positive(layout.heads * layout.headDim, 1), positive(layout.kvHeads * layout.headDim, 2)];
    const scores = combineQueryKeyScores(tf.tensor1d(q), tf.tensor1d(k), layout, compat);
    expectAllClose('qk', scores, combineReference(q, k, layout, compat));
  });

  it.each(CASES)('queryChannels() equals its reference for %s, %s', (_, compat, layout) => {
    const scores = positive(layout.kvHeads * layout.headDim, 3);
    for (const kept of [1, 3, scores.length - 1, scores.length]) {
      const keep = topKSelection(tf.tensor1d(scores), kept);
      const q = queryChannels(keep, layout, compat);
      expect(indicesOf(q)).toEqual(queryReference(topReference(scores, kept), layout, compat));
      expect([q.kept, q.total, q.indices.dtype]).toEqual([q.indices.size, layout.heads * layout.headDim, 'int32']);
    }
  });

  it('outputColumns() are the query channels, or in reference the kv channels as they are', () => {
    const layout = { heads: 4, kvHeads: 2, headDim: 6 };
    const keep: ChannelSelection = { indices: tf.tensor1d([1, 4, 9], 'int32'), kept: 3, total: 12 };
    // Channel 4 of head 0 and 3 of head 1, with two query heads to each.
    expect(indicesOf(outputColumns(keep, layout, 'corrected'))).toEqual([1, 4, 7, 10, 15, 21]);
    const reference = outputColumns(keep, layout, 'reference');
    expect(indicesOf(reference)).toEqual([1, 4, 9]);
    expect([reference.kept, reference.total]).toEqual([3, 24]);
  });

  it('gives selections that are owned one by one', async () => {
    const layout = { heads: 4, kvHeads: 2, headDim: 6 };
    const keep: ChannelSelection = { indices: tf.tensor1d([1, 4, 9], 'int32'), kept: 3, total: 12 };
    for (const compat of COMPATS) {
      await expectNoLeak(() => queryChannels(keep, layout, compat), 1);
      outputColumns(keep, layout, compat).indices.dispose();
      expect(indicesOf(keep)).toEqual([1, 4, 9]);
    }
    const ungrouped = queryChannels(keep, { heads: 2, kvHeads: 2, headDim: 6 }, 'corrected');
    ungrouped.indices.dispose();
    expect(indicesOf(keep)).toEqual([1, 4, 9]);
  });
});

describe.each(TEST_BACKENDS)('selections on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  const layout = { heads: 8, kvHeads: 4, headDim: 10 };
  const scores = positive(40, 9);

  it('selectChannels() keeps the highest, rounded up to the multiple', () => {
    // 40 · (1 − 0.9) is 3.9999999999999996.
    expect(indicesOf(selectChannels(tf.tensor1d(scores), 0.9, 1))).toEqual(topReference(scores, 3));
    expect(indicesOf(selectChannels(tf.tensor1d(scores), 0.9, 16))).toEqual(topReference(scores, 16));
    expect(selectChannels(tf.tensor1d(positive(160, 1)), 0.9, 1)?.kept).toBe(15);
  });

  it('selectChannels() is null where nothing would be dropped', () => {
    expect(selectChannels(tf.tensor1d(scores), 0.5, 64)).toBeNull();
    expect(selectChannelsPerHead(tf.tensor1d(scores), 0.05, 8, layout)).toBeNull();
  });

  it('selectChannelsPerHead() keeps the highest of every head', async () => {
    const select = () => selectChannelsPerHead(tf.tensor1d(scores), 0.7, 1, layout);
    expect(indicesOf(select())).toEqual(topPerHeadReference(scores, 3, layout));
    const input = tf.tensor1d(scores);
    await expectNoLeak(() => selectChannelsPerHead(input, 0.7, 1, layout), 1);
  });

  it('keptPerHead() makes the channels of all heads a multiple', () => {
    expect(keptPerHead(4, 128, 0.75, 1)).toBe(32);
    expect(keptPerHead(3, 64, 0.9, 16)).toBe(16);
    for (const kvHeads of [1, 2, 3, 8, 32]) {
      expect((kvHeads * keptPerHead(kvHeads, 128, 0.83, 16)) % 16).toBe(0);
    }
  });
});
