/** @file Keys of a sparsity file that nothing in it asks for: what they ask for is not done, so a run says it. */
import { SPARSITY_KEYS, type SpftConfig, snakeCase } from '@spft/config';

type Key = keyof typeof SPARSITY_KEYS & keyof SpftConfig;

interface WithoutEffect {
  readonly keys: readonly Key[];
  readonly note: string;
  /** Where they have none. */
  readonly where: (config: SpftConfig) => boolean;
}

const scoresTokens = ({ mode }: SpftConfig) => /^calibrated_|svd_\d+$/.test(mode);
/** Modes that are known to score no tokens, or all of them; others may be somebody's own. */
const ownRows = ({ mode }: SpftConfig) => /^(dense|none|static|random)$/.test(mode) || /^(?!.*svd).*oracle/.test(mode);

const WITHOUT_EFFECT: readonly WithoutEffect[] = [
  {
    keys: ['sparseOutputTokens'],
    note: 'without skip_output_tokens every labelled token is sparse',
    where: ({ skipOutputTokens }) => !skipOutputTokens,
  },
  {
    keys: ['scoreTokens', 'scoreContextTokens'],
    note: 'modes svd_<rank> and calibrated_<rank> score tokens',
    where: ownRows,
  },
  {
    keys: ['mlpSeqAvg', 'qkvoSeqAvg'],
    note: 'score_tokens says which tokens give the scores',
    where: (config) => scoresTokens(config) && (config.scoreTokens !== null || config.mode.startsWith('calibrated_')),
  },
];

export function sparsityNotes(config: SpftConfig): string[] {
  return WITHOUT_EFFECT.filter(({ where }) => where(config)).flatMap(({ keys, note }) =>
    keys
      .filter((key) => config[key] !== SPARSITY_KEYS[key].default)
      .map((key) => `${snakeCase(key)} has no effect: ${note}`),
  );
}
