import { packTokens } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { createEstimator, registerEstimator } from './index.js';
import { scoringEstimator } from './scoring.js';

const heads = { heads: 4, kvHeads: 2, headDim: 2 };
const layout = packTokens({ lengths: [2], dense: () => false });

describe.each(TEST_BACKENDS)('scoringEstimator() on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  const context = { layer: 0, sparsity: 0.5, layout, seed: 1 };
  const mlp = () => ({ ...context, channels: 4, input: tf.tensor2d([1, 9, 2, 8, 1, 9, 2, 8], [2, 4]) });
  const attention = () => ({ ...context, heads, input: tf.zeros([2, 4]) as tf.Tensor2D });
  const kept = (keep: { indices: tf.Tensor1D } | null) => keep && [...keep.indices.dataSync()];

  it('turns a score for each channel into a selection: tensors, typed arrays and lists', () => {
    for (const scoreMlp of [
      () => tf.tensor1d([1, 4, 2, 3]),
      () => Float32Array.of(1, 4, 2, 3),
      () => [1, 4, 2, 3],
      ({ input }: { input: tf.Tensor2D }) => tf.sum(input, 0) as tf.Tensor1D,
    ]) {
      expect(kept(scoringEstimator('mine', { scoreMlp }).selectMlp(mlp()))).toEqual([1, 3]);
    }
  });

  it('expands kv scores to q and o by the head layout', () => {
    const estimator = scoringEstimator('mine', { scoreAttention: () => ({ qk: [4, 0, 0, 4], v: [0, 4, 4, 0] }) });
    const { q, k, v, o } = estimator.selectAttention(attention());
    expect([k, q, v, o].map(kept)).toEqual([
      [0, 3],
      [0, 2, 5, 7],
      [1, 2],
      [1, 3, 4, 6],
    ]);
  });

  it('leaves dense what has no scores', () => {
    const estimator = scoringEstimator('mine', { scoreAttention: () => ({ qk: null, v: [0, 4, 4, 0] }) });
    const selection = estimator.selectAttention(attention());
    expect([selection.q, selection.k]).toEqual([null, null]);
    expect(kept(selection.v)).toEqual([1, 2]);
  });

  it('masks with activations, gathers with the input, unless told otherwise', () => {
    expect(scoringEstimator('a', {})).toMatchObject({ needs: 'input', applies: 'gather' });
    expect(scoringEstimator('a', { needs: 'activations' })).toMatchObject({ applies: 'mask' });
    expect(scoringEstimator('a', { needs: 'activations', applies: 'gather' })).toMatchObject({ applies: 'gather' });
  });

  it('makes one choice of what the scores of several ranks add up to, and leaves nothing else', async () => {
    const others = { mlp: [9, 0, 0, 0], qk: [0, 0, 9, 0], v: [0, 0, 0, 9] };
    const asked: number[][] = [];
    const sums = [others.mlp, others.qk, others.v];
    const shareScores = (own: tf.Tensor1D) => {
      asked.push([...own.dataSync()]);
      return tf.add(own, sums[(asked.length - 1) % 3]!) as tf.Tensor1D;
    };
    const scoring = { scoreMlp: () => [1, 4, 2, 3], scoreAttention: () => ({ qk: [4, 0, 0, 3], v: [0, 4, 3, 0] }) };
    const estimator = scoringEstimator('mine', scoring, { shareScores });
    expect([estimator.sharesScores, scoringEstimator('mine', scoring).sharesScores]).toEqual([true, false]);
    expect(kept(estimator.selectMlp(mlp()))).toEqual([0, 1]);
    const { k, v } = estimator.selectAttention(attention());
    expect([k, v].map(kept)).toEqual([
      [0, 2],
      [1, 3],
    ]);
    expect(asked).toEqual([
      [1, 4, 2, 3],
      [4, 0, 0, 3],
      [0, 4, 3, 0],
    ]);
    const c = mlp();
    await expectNoLeak(() => estimator.selectMlp(c), 1);
  });

  it('leaves the selection and nothing else', async () => {
    const c = mlp();
    const scoreMlp = ({ input }: { input: tf.Tensor2D }) => tf.sum(tf.square(input), 0) as tf.Tensor1D;
    await expectNoLeak(() => scoringEstimator('mine', { scoreMlp }).selectMlp(c), 1);
  });

  it('serves a mode of the user through the registry', async () => {
    const undo = registerEstimator(/^largest$/, (request) =>
      scoringEstimator(
        request.mode,
        { scoreMlp: ({ channels }) => Array.from({ length: channels }, (_, i) => i) },
        request,
      ),
    );
    try {
      const request = {
        mode: 'largest',
        heads,
        compat: 'corrected',
        channelMultiple: 3,
        qkPerHead: false,
        qkvoSeqAvg: false,
        mlpSeqAvg: true,
      } as const;
      const estimator = await createEstimator({ ...request, modules: { mlp: true, selfAttn: false } });
      expect(kept(estimator.selectMlp(mlp()))).toEqual([1, 2, 3]);
      await expect(createEstimator({ ...request, modules: { mlp: true, selfAttn: true } })).rejects.toThrow(
        "mode 'largest' has no rule for self_attn layers",
      );
    } finally {
      undo();
    }
  });

  it('says what it wanted when scores do not fit', () => {
    expect(() => scoringEstimator('mine', { scoreMlp: () => [1, 2] }).selectMlp(mlp())).toThrow(
      "estimator 'mine': a score was wanted for each of 4 channels, got a tensor of shape [2]",
    );
    expect(() => scoringEstimator('mine', {}).selectMlp(mlp())).toThrow("mode 'mine' has no rule for mlp layers");
  });
});
