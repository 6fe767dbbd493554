/** @file Flags: one name with several spellings (`--learning_rate`, `--learning-rate`), and the values that they take. */
import { camelCase } from '@spft/config';
import { type Command, InvalidArgumentError, Option } from 'commander';

export interface FlagSpec {
  /** As help shows it, snake_cased as upstream's: `max_new_tokens`. Its value is found under the camelCased name. */
  readonly name: string;
  /** `<n>`, `[value]` where it may be left out, or nothing for a switch. */
  readonly value?: string;
  readonly description: string;
  /** Further names of the same. */
  readonly aliases?: readonly string[];
  /** Another key under which its value is found. */
  readonly key?: string;
  readonly group?: string;
  readonly required?: boolean;
  readonly parse?: (text: string) => unknown;
  /** An empty text is a value: a list of nothing. Elsewhere it is what a script's variable holds that was never set, and as a path the working directory. */
  readonly mayBeEmpty?: boolean;
}

/** An option whose value is found under a name of our choice, so that several spellings can share it. */
class NamedOption extends Option {
  constructor(
    flags: string,
    description: string,
    readonly key: string,
  ) {
    super(flags, description);
  }

  override attributeName(): string {
    return this.key;
  }
}

/** Adds a flag in every spelling; help shows the first. */
export function addFlag(command: Command, spec: FlagSpec): void {
  const { name, value, description, aliases = [], group, required, mayBeEmpty = false } = spec;
  const parse = value === undefined ? undefined : mayBeEmpty ? spec.parse : withText(spec.parse);
  const key = spec.key ?? camelCase(name);
  const spellings = new Set([name, ...aliases].flatMap((one) => [one, one.replaceAll('_', '-')]));
  for (const spelling of spellings) {
    const option = new NamedOption(`--${spelling}${value ? ` ${value}` : ''}`, description, key);
    if (spelling !== name) option.hideHelp();
    if (group !== undefined) option.helpGroup(group);
    if (parse) option.argParser(parse);
    command.addOption(option);
  }
  if (!required) return;
  // Not commander's own check, which comes before that for unknown flags: a mistyped name would be reported as missing.
  command.hook('preAction', (_, self) => {
    if (self.getOptionValue(key) === undefined) {
      self.error(`error: required option '--${name}${value ? ` ${value}` : ''}' not specified`);
    }
  });
}

/** Refuses an empty text before anything else reads it. */
function withText(parse: (text: string) => unknown = (text) => text): (text: string) => unknown {
  return (text) => {
    if (text.trim() === '') throw new InvalidArgumentError('It is empty.');
    return parse(text);
  };
}

export function addFlags(command: Command, specs: readonly FlagSpec[]): Command {
  for (const spec of specs) addFlag(command, spec);
  return command;
}

export function positiveInteger(text: string): number {
  return wholeNumber(text, 1);
}

export function naturalNumber(text: string): number {
  return wholeNumber(text, 0);
}

function wholeNumber(text: string, least: number): number {
  if (/^\d+$/.test(text) && Number(text) >= least && Number.isSafeInteger(Number(text))) return Number(text);
  throw new InvalidArgumentError(`Wanted a whole number of at least ${least}.`);
}

/** A number within bounds, both included. */
export function numberBetween(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? Number.NaN : Number(text);
    if (value >= low && value <= high) return value;
    throw new InvalidArgumentError(
      high === Infinity ? `Wanted a number of at least ${low}.` : `Wanted a number from ${low} to ${high}.`,
    );
  };
}

export function oneOf<const T extends string>(...values: T[]): (text: string) => T {
  return (text) => {
    if ((values as string[]).includes(text)) return text as T;
    throw new InvalidArgumentError(`Wanted one of ${values.join(', ')}.`);
  };
}
