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

/** Sparse rows lie behind the dense ones, in packed order: tokens 0, 2 and 3 of the first sequence, 6 of the second. */
const CONTEXT = { x: X.slice(3 * H), starts: [0, 3, 4], tokenOfRow: [0, 1, 2, 3] };
const ALL = { x: X, starts: layout.sequenceStarts, tokenOfRow: layout.tokenOfRow };

/** What scores are taken from, and how many rows that is. */
function scoredReference(contextOnly: boolean, average: boolean): [x: ArrayLike<number>, rows: number] {
  const { x, starts, tokenOfRow } = contextOnly ? CONTEXT : ALL;
  return average ? [meansReference(x, H, starts, tokenOfRow), 2] : [x, tokenOfRow.length];
}

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

  it.each([
    [true, undefined],
    [false, undefined],
    [true, false],
    [false, false],
  ])('chooses MLP channels as its reference does, sequence averages: %s, scoreContextTokens: %s', (mlpSeqAvg, only) => {
    // From the context alone unless it is told otherwise: no label has a say.
    const scores = mlpScoresReference(...scoredReference(only ?? true, mlpSeqAvg), HOST.gate, HOST.up);
    const estimator = svdEstimator('svd_3', predictors(), { mlpSeqAvg, scoreContextTokens: only ?? null });
    for (const sparsity of [0.5, 0.75, 0.9]) {
      const keep = estimator.selectMlp(mlpContext(sparsity))!;
      expect([...keep.indices.dataSync()]).toEqual(topReference(scores, Math.floor(I * (1 - sparsity))));
      expect(keep.total).toBe(I);
    }
  });

  it.each([
    ['corrected', false, undefined, true],
    ['corrected', true, undefined, true],
    ['corrected', false, false, false],
    ['corrected', true, false, false],
    // The original looks at all tokens.
    ['reference', false, undefined, false],
    ['reference', true, undefined, false],
    ['reference', true, true, true],
  ] as const)(
    'chooses attention channels as its reference does: %s, sequence averages %s, scoreContextTokens %s',
    (compat, qkvoSeqAvg, scoreContextTokens, contextOnly) => {
      const [x, T] = scoredReference(contextOnly, qkvoSeqAvg);
      const [q, k, v] = [HOST.q, HOST.k, HOST.v].map((p) => normsReference(estimateReference(x, T, p)));
      const keptK = topReference(combineReference(q!, k!, HEADS, compat), 4);
      const keptV = topReference(v!, 4);
      const estimator = svdEstimator('svd_3', predictors(), { compat, qkvoSeqAvg, scoreContextTokens });
      expect(indices(estimator.selectAttention(attentionContext(0.6)))).toEqual({
        q: queryReference(keptK, HEADS, compat),
        k: keptK,
        v: keptV,
        o: compat === 'reference' ? keptV : queryReference(keptV, HEADS, 'corrected'),
      });
    },
  );

  it('does not look at labelled tokens, whatever they are', () => {
    const other = X.map((value, n) => (n < 3 * H ? -7 * value : value));
    const estimator = svdEstimator('svd_3', predictors());
    const chosen = (x: Float32Array) => {
      const given = tf.tensor2d(x, [7, H]);
      const mlp = estimator.selectMlp({ ...mlpContext(0.5), input: given })!;
      return [
        [...mlp.indices.dataSync()],
        indices(estimator.selectAttention({ ...attentionContext(0.5), input: given })),
      ];
    };
    expect(chosen(other as Float32Array)).toEqual(chosen(X as Float32Array));
    const all = svdEstimator('svd_3', predictors(), { scoreContextTokens: false });
    const scored = (x: Float32Array) => [
      ...all.selectMlp({ ...mlpContext(0.5), input: tf.tensor2d(x, [7, H]) })!.indices.dataSync(),
    ];
    expect(scored(other as Float32Array)).not.toEqual(scored(X as Float32Array));
  });

  it('chooses equally many channels in every head with qkPerHead', () => {
    const [q, k, v] = [HOST.q, HOST.k, HOST.v].map((p) =>
      normsReference(estimateReference(...scoredReference(true, false), p)),
    );
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
