import { type HeadLayout, packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { type LowRank, Predictors } from './predictors.js';
import { randomNormals } from './random.js';
import { svdEstimator } from './svd.js';
import {
  combineReference,
  estimateReference,
  type LowRankReference,
  meansReference,
  mlpScoresReference,
  normsReference,
  queryReference,
  topPerHeadReference,
  topReference,
} from './svd.reference.js';
import type { AttentionSelection } from './types.js';

const H = 12;
const I = 21;
const RANK = 3;
const HEADS: HeadLayout = { heads: 4, kvHeads: 2, headDim: 5 };
const KV = HEADS.kvHeads * HEADS.headDim;
// Tokens 1, 4 and 5 are dense, so rows are not in packed order.
const layout = packTokens({ lengths: [4, 3], dense: (token) => [1, 4, 5].includes(token) });
const X = randomNormals(7 * H, 77);

const OUT = { gate: I, up: I, q: HEADS.heads * HEADS.headDim, k: KV, v: KV };
const HOST = Object.fromEntries(
  Object.entries(OUT).map(([name, out], n) => [
    name,
    { a: randomNormals(H * RANK, 10 + n), b: randomNormals(RANK * out, 20 + n), rank: RANK },
  ]),
) as Record<keyof typeof OUT, LowRankReference & { a: Float32Array; b: Float32Array }>;

const predictors = () => {
  const device = ({ a, b }: { a: Float32Array; b: Float32Array }): LowRank => ({
    a: tf.tensor2d(a, [H, RANK]),
    b: tf.tensor2d(b, [RANK, b.length / RANK]),
  });
  const modules = { mlp: ['gate', 'up'], self_attn: ['q', 'k', 'v'] } as const;
  const entries = Object.entries(modules).flatMap(([module, parts]) =>
    parts.map((part) => [`model.layers.2.${module}.${part}_proj`, device(HOST[part])] as const),
  );
  return new Predictors(RANK, new Map(entries), null);
};

const indices = (selection: AttentionSelection) =>
  Object.fromEntries(
    (['q', 'k', 'v', 'o'] as const).map((part) => [part, selection[part] && [...selection[part].indices.dataSync()]]),
  );

describe.each(TEST_BACKENDS)('svdEstimator() on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  const input = () => tf.tensor2d(X, [7, H]);
  const mlpContext = (sparsity: number) => ({ layer: 2, sparsity, input: input(), layout, seed: 1, channels: I });
  const attentionContext = (sparsity: number) => ({
    layer: 2,
    sparsity,
    input: input(),
    layout,
    seed: 1,
    heads: HEADS,
  });

  it.each([true, false])('chooses MLP channels as its reference does, sequence averages: %s', (mlpSeqAvg) => {
    const means = meansReference(X, H, layout.sequenceStarts, layout.tokenOfRow);
    const [x, T] = mlpSeqAvg ? [means, 2] : [X, 7];
    const scores = mlpScoresReference(x, T, HOST.gate, HOST.up);
    const estimator = svdEstimator('svd_3', predictors(), { mlpSeqAvg });
    for (const sparsity of [0.5, 0.75, 0.9]) {
      const keep = estimator.selectMlp(mlpContext(sparsity))!;
      expect([...keep.indices.dataSync()]).toEqual(topReference(scores, Math.floor(I * (1 - sparsity))));
      expect(keep.total).toBe(I);
    }
  });

  it.each([
    ['corrected', false],
    ['corrected', true],
    ['reference', false],
    ['reference', true],
  ] as const)('chooses attention channels as its reference does: %s, sequence averages %s', (compat, qkvoSeqAvg) => {
    const [x, T] = qkvoSeqAvg ? [meansReference(X, H, layout.sequenceStarts, layout.tokenOfRow), 2] : [X, 7];
    const [q, k, v] = [HOST.q, HOST.k, HOST.v].map((p) => normsReference(estimateReference(x, T, p)));
    const keptK = topReference(combineReference(q!, k!, HEADS, compat), 4);
    const keptV = topReference(v!, 4);
    const estimator = svdEstimator('svd_3', predictors(), { compat, qkvoSeqAvg });
    expect(indices(estimator.selectAttention(attentionContext(0.6)))).toEqual({
      q: queryReference(keptK, HEADS, compat),
      k: keptK,
      v: keptV,
      o: compat === 'reference' ? keptV : queryReference(keptV, HEADS, 'corrected'),
    });
  });

  it('chooses equally many channels in every head with qkPerHead', () => {
    const [q, k, v] = [HOST.q, HOST.k, HOST.v].map((p) => normsReference(estimateReference(X, 7, p)));
    const keptK = topPerHeadReference(combineReference(q!, k!, HEADS, 'corrected'), 2, HEADS);
    const estimator = svdEstimator('svd_3', predictors(), { qkPerHead: true });
    expect(indices(estimator.selectAttention(attentionContext(0.5)))).toMatchObject({
      q: queryReference(keptK, HEADS, 'corrected'),
      k: keptK,
      v: topPerHeadReference(v!, 2, HEADS),
    });
  });

  it('leaves o dense when it masks, as upstream oracles do', () => {
    const estimator = svdEstimator('oracle_svd_3', predictors(), { applies: 'mask' });
    const selection = estimator.selectAttention(attentionContext(0.5));
    expect(estimator).toMatchObject({ needs: 'input', applies: 'mask' });
    expect(selection.o).toBeNull();
    expect(selection.v?.kept).toBe(5);
  });

  it('leaves the selection and nothing else, on or off the tape, and no gradient', async () => {
    const estimator = svdEstimator('svd_3', predictors());
    const [mlp, attention] = [mlpContext(0.5), attentionContext(0.5)];
    await expectNoLeak(() => estimator.selectMlp(mlp), 1);
    await expectNoLeak(() => estimator.selectAttention(attention), 4);
    await expectNoLeak(() => {
      const gradient = tf.grad((x) => {
        estimator.selectMlp({ ...mlp, input: x as tf.Tensor2D })!.indices.dispose();
        return tf.sum(tf.square(x));
      });
      gradient(mlp.input).dispose();
    });
  });

  it('frees its predictors', async () => {
    await expectNoLeak(() => svdEstimator('svd_3', predictors()).dispose());
  });

  it('says which layer has no predictor', () => {
    const estimator = svdEstimator('svd_3', predictors());
    expect(() => estimator.selectMlp({ ...mlpContext(0.5), layer: 1 })).toThrow('predictors: none for layers.1.mlp');
  });
});
