/** @file Keys of a sparsity file that nothing in it asks for: what they ask for is not done, so a run says it. */
import { SPARSITY_KEYS, type SpftConfig } from '@spft/config';
import { type WithoutEffect, withoutEffect } from './without-effect.js';

type Key = keyof typeof SPARSITY_KEYS & keyof SpftConfig;

const scoresTokens = ({ mode }: SpftConfig) => /^calibrated_|svd_\d+$/.test(mode);
/** Modes that are known to score no tokens, or all of them; others may be somebody's own. */
const ownRows = ({ mode }: SpftConfig) => /^(dense|none|static|random)$/.test(mode) || /^(?!.*svd).*oracle/.test(mode);

const WITHOUT_EFFECT: readonly WithoutEffect<SpftConfig, Key>[] = [
  {
    keys: ['sparseOutputTokens'],
    note: 'without skip_output_tokens every labelled token is sparse',
    unless: ({ skipOutputTokens }) => skipOutputTokens,
  },
  {
    keys: ['scoreTokens', 'scoreContextTokens'],
    note: 'modes svd_<rank> and calibrated_<rank> score tokens',
    unless: (config) => !ownRows(config),
  },
  {
    keys: ['mlpSeqAvg', 'qkvoSeqAvg'],
    note: 'score_tokens says which tokens give the scores',
    unless: (config) =>
      !scoresTokens(config) || (config.scoreTokens === null && !config.mode.startsWith('calibrated_')),
  },
];

export function sparsityNotes(config: SpftConfig): string[] {
  return withoutEffect(config, SPARSITY_KEYS, WITHOUT_EFFECT);
}
