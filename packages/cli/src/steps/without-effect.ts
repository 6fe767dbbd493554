/** @file Keys of a config that ask for something which is not computed, or which its other keys leave nothing to do: a run says it of each. */
import { snakeCase } from '@spft/config';

/** Of a config whose keys are `Key`. */
export interface WithoutEffect<Config, Key extends keyof Config & string> {
  readonly keys: readonly Key[];
  /** What happens instead, or what the keys belong to. */
  readonly note: string;
  /** Where they have an effect all the same; nowhere by default. */
  readonly unless?: (config: Config) => boolean;
}

/**
 * What is to be said of the keys that are given and have no effect.
 * @param table of all keys of the config, with what they are by default: a key that says what holds without it asks for nothing.
 */
export function withoutEffect<Config, Key extends keyof Config & string>(
  config: Config,
  table: Readonly<Record<Key, { readonly default: unknown }>>,
  rules: readonly WithoutEffect<Config, Key>[],
): string[] {
  const isGiven = (key: Key) => JSON.stringify(config[key]) !== JSON.stringify(table[key].default);
  return rules
    .filter(({ unless }) => !unless?.(config))
    .flatMap(({ keys, note }) => keys.filter(isGiven).map((key) => `${snakeCase(key)} has no effect: ${note}`));
}
