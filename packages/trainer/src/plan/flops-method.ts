/** @file What a sparse step is made of, as far as arithmetic goes, read off a sparsity config: one place for plans, runs and studies that count it. */
import { SCORE_TOKENS, type SparsityConfig } from '@spft/estimator';
import type { FlopsMethod } from '@spft/models';

/** The keys of a config by which arithmetic is counted. */
export type CountedSparsity = Pick<
  SparsityConfig,
  | 'mode'
  | 'scoreTokens'
  | 'mlpSeqAvg'
  | 'qkvoSeqAvg'
  | 'compensationRank'
  | 'selectionInterval'
  | 'compat'
  | 'gradient'
  | 'channelMultiple'
>;

/**
 * All of a `FlopsMethod` but its adapters, for an estimator that gathers.
 * @param layers as a `SparsityPlan` has them.
 */
export function sparsityFlops(
  config: CountedSparsity,
  layers: NonNullable<FlopsMethod['sparsity']>,
): Omit<FlopsMethod, 'adapters'> {
  const rank = /^(?:svd|calibrated)_(\d+)/.exec(config.mode)?.[1];
  return {
    sparsity: layers,
    predictorRank: Number(rank ?? 0),
    channelMultiple: config.channelMultiple ?? 1,
    scoreRows: scoreRowsOf(config),
    compensationRank: config.compensationRank ?? 0,
    selectionInterval: config.selectionInterval ?? 1,
    gradient: config.compat === 'reference' ? 'cut' : (config.gradient ?? 'exact'),
  };
}

/** Which rows a config's scores are taken from, as the estimator has it. */
function scoreRowsOf({
  mode,
  scoreTokens,
  mlpSeqAvg,
  qkvoSeqAvg,
}: CountedSparsity): NonNullable<FlopsMethod['scoreRows']> {
  const count = scoreTokens ?? (mode.startsWith('calibrated') ? SCORE_TOKENS : null);
  if (count !== null) return { mlp: count === 0 ? 'all' : count, selfAttn: count === 0 ? 'all' : count };
  return { mlp: mlpSeqAvg ? 'mean' : 'all', selfAttn: qkvoSeqAvg ? 'mean' : 'all' };
}
