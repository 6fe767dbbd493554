import { type HeadLayout, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { oracleEstimator, parseOracle } from './oracle.js';
import { wandaReference } from './oracle.reference.js';
import { randomNormals } from './random.js';
import {
  combineReference,
  normsReference,
  queryReference,
  topPerHeadReference,
  topReference,
} from './svd.reference.js';
import type { AttentionSelection } from './types.js';

const [T, H, I] = [6, 8, 20];
const HEADS: HeadLayout = { heads: 4, kvHeads: 2, headDim: 5 };
const [Q, KV] = [20, 10];
const layout = packTokens({ lengths: [T], dense: () => false });
const matrix = (rows: number, columns: number, seed: number) => {
  const data = randomNormals(rows * columns, seed);
  return { data, rows: Array.from({ length: rows }, (_, r) => data.slice(r * columns, (r + 1) * columns)) };
};
const [h, down] = [matrix(T, I, 1), matrix(H, I, 2)];
const [q, k, v] = [matrix(T, Q, 3), matrix(T, KV, 4), matrix(T, KV, 5)];

const indices = (selection: AttentionSelection) =>
  Object.fromEntries(
    (['q', 'k', 'v', 'o'] as const).map((part) => [part, selection[part] && [...selection[part].indices.dataSync()]]),
  );

describe('parseOracle()', () => {
  it.each([
    ['oracle_l2norm_norm_ffn', { mlp: 'norm', selfAttn: 'l2norm', limit: null }],
    ['oracle_norm_ffn_attention_norm', { mlp: 'norm', selfAttn: 'attention_norm', limit: null }],
    ['oracle_wanda_ffn_l2norm', { mlp: 'wanda', selfAttn: 'l2norm', limit: null }],
    ['oracle_random_ffn', { mlp: 'random', selfAttn: 'random', limit: null }],
    ['oracle_l2norm_qk', { mlp: null, selfAttn: 'l2norm', limit: 'qk' }],
    ['oracle_attention_norm_vo', { mlp: null, selfAttn: 'attention_norm', limit: 'vo' }],
  ])('reads %s as upstream does', (mode, rules) => {
    expect(parseOracle(mode)).toEqual(rules);
  });
});

describe.each(TEST_BACKENDS)('oracleEstimator() on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  const mlp = (seed = 1) => ({
    layer: 0,
    sparsity: 0.6,
    seed,
    layout,
    channels: I,
    input: tf.zeros([T, H]) as tf.Tensor2D,
    activations: tf.tensor2d(h.data, [T, I]),
    downWeight: tf.tensor2d(down.data, [H, I]),
  });
  const attention = (seed = 1) => ({
    layer: 0,
    sparsity: 0.6,
    seed,
    layout,
    heads: HEADS,
    input: tf.zeros([T, H]) as tf.Tensor2D,
    q: tf.tensor2d(q.data, [T, Q]),
    k: tf.tensor2d(k.data, [T, KV]),
    v: tf.tensor2d(v.data, [T, KV]),
  });
  const mlpKept = (mode: string, seed = 1) => [...oracleEstimator(mode).selectMlp(mlp(seed))!.indices.dataSync()];

  it('norm_ffn keeps the channels of the largest norms', () => {
    expect(mlpKept('oracle_norm_ffn')).toEqual(topReference(normsReference(h.rows), 8));
  });

  it('wanda_ffn weighs norms with the rows of down', () => {
    const expected = topReference(wandaReference(h.rows, down.rows), 8);
    expect(mlpKept('oracle_wanda_ffn')).toEqual(expected);
    expect(expected).not.toEqual(topReference(normsReference(h.rows), 8));
  });

  it('wanda_ffn has scores where a row of down counts for nothing', () => {
    const downWeight = tf.concat([tf.zeros([1, I]), tf.tensor2d(down.data, [H, I]).slice([1, 0])]) as tf.Tensor2D;
    const keep = oracleEstimator('oracle_wanda_ffn').selectMlp({ ...mlp(), downWeight })!;
    expect([...keep.indices.dataSync()]).toEqual(topReference(wandaReference(h.rows, down.rows.slice(1)), 8));
  });

  it('random keeps seeded channels: as many as asked for, ascending, others for another seed', () => {
    const kept = mlpKept('oracle_random_ffn', 5);
    expect(kept).toHaveLength(8);
    expect(kept).toEqual([...new Set(kept)].sort((a, b) => a - b));
    expect(mlpKept('oracle_random_ffn', 5)).toEqual(kept);
    expect(mlpKept('oracle_random_ffn', 6)).not.toEqual(kept);
    const selection = oracleEstimator('oracle_random_ffn').selectAttention(attention(5));
    expect([selection.q?.kept, selection.k?.kept, selection.v?.kept, selection.o]).toEqual([8, 4, 4, null]);
    expect(indices(selection).k).not.toEqual(indices(selection).v);
  });

  it('l2norm chooses q, k and v each by its own norm', () => {
    expect(indices(oracleEstimator('oracle_l2norm').selectAttention(attention()))).toEqual({
      q: topReference(normsReference(q.rows), 8),
      k: topReference(normsReference(k.rows), 4),
      v: topReference(normsReference(v.rows), 4),
      o: null,
    });
  });

  it.each(['corrected', 'reference'] as const)('attention_norm ties q to k, %s', (compat) => {
    const scores = combineReference(normsReference(q.rows), normsReference(k.rows), HEADS, compat);
    const kept = topReference(scores, 4);
    expect(indices(oracleEstimator('oracle_attention_norm', { compat }).selectAttention(attention()))).toEqual({
      q: queryReference(kept, HEADS, compat),
      k: kept,
      v: topReference(normsReference(v.rows), 4),
      o: null,
    });
    const perHead = oracleEstimator('oracle_attention_norm', { compat, qkPerHead: true }).selectAttention(attention());
    expect(indices(perHead)).toMatchObject({
      k: topPerHeadReference(scores, 2, HEADS),
      v: topPerHeadReference(normsReference(v.rows), 2, HEADS),
    });
  });

  it('limits attention to q and k, or to v', async () => {
    const qk = oracleEstimator('oracle_l2norm_qk').selectAttention(attention());
    expect([qk.q?.kept, qk.k?.kept, qk.v]).toEqual([8, 4, null]);
    const vo = oracleEstimator('oracle_attention_norm_vo').selectAttention(attention());
    expect([vo.q, vo.k, vo.v?.kept, vo.o]).toEqual([null, null, 4, null]);
    const context = attention();
    await expectNoLeak(() => oracleEstimator('oracle_random_vo').selectAttention(context), 1);
    await expectNoLeak(() => oracleEstimator('oracle_l2norm_qk').selectAttention(context), 2);
  });

  it('leaves the selections and nothing else', async () => {
    const [m, a] = [mlp(), attention()];
    await expectNoLeak(() => oracleEstimator('oracle_wanda_ffn').selectMlp(m), 1);
    await expectNoLeak(() => oracleEstimator('oracle_attention_norm').selectAttention(a), 3);
    await expectNoLeak(() => oracleEstimator('oracle_l2norm').selectAttention(a), 3);
  });

  it('says which activations are missing', () => {
    const { activations: _, ...context } = mlp();
    expect(() => oracleEstimator('oracle_wanda_ffn').selectMlp(context)).toThrow('context has no activations');
    const { k: __, ...rest } = attention();
    expect(() => oracleEstimator('oracle_l2norm').selectAttention(rest)).toThrow('context has no k');
  });
});
