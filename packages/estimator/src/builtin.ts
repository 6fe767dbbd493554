/** @file The modes that are there from the start, registered as a user's own would be. Importing this file registers them. */
import { EstimatorError } from './errors.js';
import { oracleEstimator } from './oracle.js';
import type { Predictors } from './predictors.js';
import { deriveSeed, randomUniform } from './random.js';
import { type EstimatorRequest, type PredictorKind, registerEstimator } from './registry.js';
import { scoringEstimator } from './scoring.js';
import { staticEstimator, svdEstimator } from './svd.js';
import type { SparsityEstimator } from './types.js';

/** Leaves every layer dense. */
export function denseEstimator(mode = 'dense'): SparsityEstimator {
  return {
    mode,
    needs: 'input',
    applies: 'gather',
    selectMlp: () => null,
    selectAttention: () => ({ q: null, k: null, v: null, o: null }),
    dispose() {},
  };
}

const FROM_WEIGHTS: PredictorKind = { calibrated: false, norms: false };

async function svdOf(
  request: EstimatorRequest,
  rank: number,
  applies: 'gather' | 'mask' = 'gather',
  kind: PredictorKind = FROM_WEIGHTS,
): Promise<SparsityEstimator> {
  return svdEstimator(request.mode, await predictorsOf(request, rank, kind), { ...request, applies });
}

function predictorsOf(request: EstimatorRequest, rank: number, kind: PredictorKind): Promise<Predictors> {
  if (request.predictors) return request.predictors(rank, kind);
  throw new EstimatorError(`mode '${request.mode}' needs predictors; pass createEstimator a way to get them`);
}

registerEstimator(/^(?:dense|none)$/, ({ mode }) => denseEstimator(mode), {
  title: 'dense',
  examples: ['dense', 'none'],
});

registerEstimator(
  /^calibrated_([1-9]\d*)(_static)?$/,
  (request, [, rank, norms]) =>
    svdOf(request, Number(rank), 'gather', { calibrated: true, norms: norms !== undefined }),
  {
    title: 'calibrated_<rank>[_static]',
    examples: ['calibrated_4', 'calibrated_8', 'calibrated_16', 'calibrated_32', 'calibrated_8_static'],
  },
);

registerEstimator(
  /^static$/,
  async (request) =>
    staticEstimator(request.mode, await predictorsOf(request, 0, { calibrated: true, norms: true }), request),
  { title: 'static', examples: ['static'] },
);

/** Keeps channels at random, anew for each batch: the yardstick that any other choice has to beat at the same arithmetic. */
export function randomEstimator(request: EstimatorRequest): SparsityEstimator {
  const draw = (channels: number, seed: number) => {
    const uniform = randomUniform(seed);
    return Float32Array.from({ length: channels }, uniform);
  };
  return scoringEstimator(
    request.mode,
    {
      scoreMlp: ({ channels, seed }) => draw(channels, seed),
      scoreAttention: ({ heads, seed }) => {
        const scores = draw(heads.kvHeads * heads.headDim, seed);
        return { qk: scores, v: draw(scores.length, deriveSeed(seed, 1)) };
      },
    },
    request,
  );
}

registerEstimator(/^random$/, randomEstimator, { title: 'random', examples: ['random'] });

registerEstimator(/^svd_([1-9]\d*)$/, (request, [, rank]) => svdOf(request, Number(rank)), {
  title: 'svd_<rank>',
  examples: ['svd_4', 'svd_8', 'svd_16', 'svd_32'],
});

registerEstimator(/^.*oracle.*svd_([1-9]\d*)$/, (request, [, rank]) => svdOf(request, Number(rank), 'mask'), {
  title: 'oracle_svd_<rank>',
  examples: ['oracle_svd_8'],
});

registerEstimator(/^(?!.*svd).*oracle/, (request) => oracleEstimator(request.mode, request), {
  title: 'oracle_<random|norm|wanda>_ffn, oracle_<attention_norm|random|l2norm>[_qk|_vo], or both in one name',
  examples: [
    'oracle_random_ffn',
    'oracle_norm_ffn',
    'oracle_wanda_ffn',
    'oracle_l2norm',
    'oracle_attention_norm',
    'oracle_norm_ffn_attention_norm',
    'oracle_l2norm_norm_ffn',
    'oracle_wanda_ffn_l2norm',
  ],
});
