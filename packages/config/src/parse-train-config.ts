/** @file A training config from defaults, a file's text and flags, in rising order of precedence. */
import { type FlagValue, readFileValue, readFlagValue } from './coerce.js';
import { ConfigError, type ConfigProblem } from './config-error.js';
import { camelCase, type KeySpec, snakeCase } from './key-table.js';
import { type ConfigSource, NO_SOURCE, type ParsedText, parseConfigText } from './source-text.js';
import { TRAIN_KEYS, type TrainConfig, type TrainKey } from './train-config.js';
import { validate } from './validate.js';

const ALL_PROJECTIONS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

/** Flags by name, as `--learning_rate`, `learning_rate`, `learning-rate` or `learningRate`. */
export type TrainOverrides = Readonly<Record<string, FlagValue | undefined>>;

/**
 * @param text of the training file, YAML or JSON; null for none.
 * @param file its name, for messages and to tell JSON from YAML.
 * @param overrides flags; they win over the file. Undefined values count as not given.
 * @throws ConfigError with every problem of file and flags.
 */
export function parseTrainConfig(text: string | null, file: string, overrides: TrainOverrides = {}): TrainConfig {
  const parsed: ParsedText =
    text === null ? { value: {}, source: NO_SOURCE, problems: [] } : parseConfigText(text, file);
  const given = readKeys(parsed.value, (spec, value) => readFileValue(spec, value));
  const flags = readKeys(withoutDashes(overrides), (spec, value) => readFlagValue(spec, value as FlagValue));
  const problems = [
    ...parsed.problems,
    ...validate('train', given, parsed.source),
    ...validate('train', flags, NO_SOURCE, '--'),
  ];
  if (problems.length > 0) throw new ConfigError(problems);

  const chosen = { ...given, ...flags };
  const conflicts = conflictsOf(chosen, placesOf(flags, parsed.source));
  if (conflicts.length > 0) throw new ConfigError(conflicts);
  return complete(chosen);
}

/** The config as a file has it: snake_cased, every key. */
export function trainConfigToObject(config: TrainConfig): Record<string, unknown> {
  return Object.fromEntries(Object.entries(config).map(([key, value]) => [snakeCase(key), value]));
}

/** One training key, as a command line's help shows it. */
export interface TrainKeyRow {
  readonly key: TrainKey;
  /** `learning_rate`: the name in files and, after `--`, of the flag. */
  readonly name: string;
  /** `number`, `true|false`, `linear|cosine|…`. */
  readonly values: string;
  /** As it would be written in a file; null when nothing is set. */
  readonly defaultText: string | null;
  readonly description: string;
}

/** Every training key in the table's order. */
export function trainKeyRows(): TrainKeyRow[] {
  return Object.entries<KeySpec<unknown>>(TRAIN_KEYS).map(([key, spec]) => ({
    key: key as TrainKey,
    name: snakeCase(key),
    values: valuesText(spec),
    defaultText:
      spec.default === null ? null : Array.isArray(spec.default) ? spec.default.join(',') : String(spec.default),
    description: spec.description,
  }));
}

function valuesText({ type, values }: KeySpec<unknown>): string {
  if (values) return values.join(type === 'list' ? ',' : '|');
  return type === 'boolean' ? 'true|false' : type === 'list' ? 'a,b,…' : type;
}

function specOf(name: string): KeySpec<unknown> | null {
  const key = camelCase(name);
  return snakeCase(key) === name && Object.hasOwn(TRAIN_KEYS, key) ? TRAIN_KEYS[key as TrainKey] : null;
}

function readKeys(
  values: Readonly<Record<string, unknown>>,
  read: (spec: KeySpec<unknown>, value: unknown) => unknown,
) {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(values)) {
    const spec = specOf(name);
    define(result, name, spec ? read(spec, value) : value);
  }
  return result;
}

function withoutDashes(overrides: TrainOverrides): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [flag, value] of Object.entries(overrides)) {
    const name = flag.replace(/^--/, '');
    // camelCase as well as kebab-case; a name that is no key stays as written, for the message.
    const canonical = snakeCase(camelCase(name));
    if (value !== undefined) define(result, specOf(canonical) ? canonical : name, value);
  }
  return result;
}

/** Assignment that a key named `__proto__` cannot abuse. */
function define(target: Record<string, unknown>, name: string, value: unknown): void {
  Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
}

type Place = Pick<ConfigProblem, 'file' | 'line' | 'path'>;

function placesOf(flags: Readonly<Record<string, unknown>>, source: ConfigSource): (name: string) => Place {
  return (name) =>
    Object.hasOwn(flags, name)
      ? { file: null, line: null, path: [`--${name}`] }
      : { file: source.file, line: source.lineOf([name]), path: [name] };
}

/** Values that are right one by one and wrong together. */
function conflictsOf(given: Readonly<Record<string, unknown>>, place: (name: string) => Place): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const { bf16, fp16, model_max_length: longest, max_seq_length: row } = given;
  if (bf16 === true && fp16 === true) {
    problems.push({ ...place('fp16'), message: 'bf16 and fp16 are both true; keep one' });
  }
  for (const name of ['logging_steps', 'eval_steps', 'save_steps']) {
    const steps = given[name];
    if (typeof steps !== 'number' || steps < 1 || Number.isInteger(steps)) continue;
    problems.push({
      ...place(name),
      message: `expected a whole number of steps, or a share of the run below 1, found ${steps}`,
    });
  }
  if (longest !== undefined && row !== undefined && longest !== row) {
    problems.push({
      ...place('max_seq_length'),
      message: `expected the same as model_max_length (${longest}), found ${row}; give one of them, the other follows`,
    });
  }
  if (given.load_best_model_at_end === true && (given.eval_strategy ?? 'no') === 'no') {
    problems.push({
      ...place('load_best_model_at_end'),
      message: 'the best checkpoint is known only with evaluation; set eval_strategy to steps or epoch',
    });
  }
  return problems;
}

function complete(given: Readonly<Record<string, unknown>>): TrainConfig {
  const result: Record<string, unknown> = {};
  for (const [key, spec] of Object.entries<KeySpec<unknown>>(TRAIN_KEYS)) {
    const name = snakeCase(key);
    result[key] = Object.hasOwn(given, name) ? given[name] : spec.default;
  }
  // Upstream requires the two to be equal, so that whoever gives one means both.
  if (given.max_seq_length !== undefined) result.modelMaxLength = given.max_seq_length;
  else if (given.model_max_length !== undefined) result.maxSeqLength = given.model_max_length;
  // As upstream does: Unsloth patches only what has an adapter.
  if (result.enableUnsloth === true) result.loraTargetModules = ALL_PROJECTIONS;
  return Object.freeze(result) as TrainConfig;
}
