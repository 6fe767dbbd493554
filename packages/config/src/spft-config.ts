/**
 * @file Sparsity configs: upstream's sparsity files, and the newer layout of its models on the hub, as one typed object. `spft_` keys of a
 * training config join here as upstream has it: given as flags they override the file, else they fill what it leaves out.
 */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { readFileValue } from './coerce.js';
import { ConfigError, type ConfigProblem } from './config-error.js';
import { isHubLayout, readHubLayout, writeRunLayout } from './hub-layout.js';
import { camelCase, type KeySpec, snakeCase } from './key-table.js';
import { type ConfigSource, describeValue, NO_SOURCE, type ParsedText, parseConfigText } from './source-text.js';
import { layerName, SPARSITY_KEYS, type SparsityValues } from './sparsity-config.js';
import type { TrainConfig, TrainKey } from './train-config.js';
import { validate } from './validate.js';

/** A complete sparsity config: every key has its value from flag, file, training config or default. */
export interface SpftConfig extends SparsityValues {
  /** Sparsity (fraction dropped, 0 ≤ s < 1) by layer, `layers.N.mlp` and `layers.N.self_attn`. Check it with `matchLayers`. */
  readonly sparsity: Readonly<Record<string, number>>;
  /** Directory with predictors that belong to this config (hub layout); null: look for them under `predictorBasepath`. */
  readonly predictorPath: string | null;
  /** The model that the predictors belong to, where the file says so (hub layout). */
  readonly baseModel: string | null;
  /** Where it was read from, for error messages. */
  readonly source: ConfigSource;
}

export interface SpftConfigOptions {
  /** Training config whose `spft*` keys take part. */
  readonly train?: TrainConfig;
  /** Names of the keys of `train` that were given as flags, in any spelling: those win over the file. */
  readonly flags?: Iterable<string>;
  /** Which mode of a hub layout; `o1` if not given. An error with a file that has none. */
  readonly hubMode?: string;
  /** Directory of the file: where a hub layout has its predictors. */
  readonly directory?: string;
}

const OPTIONS: OptionNames<SpftConfigOptions> = { train: true, flags: true, hubMode: true, directory: true };

/** How to make a `SpftConfig`. */
export const SpftConfig = {
  /**
   * @param value keys and values as in a file (snake_cased), of any of the layouts.
   * @throws ConfigError with every problem.
   */
  fromObject(value: unknown, options: SpftConfigOptions = {}): SpftConfig {
    assertKnownOptions('SpftConfig.fromObject', options, OPTIONS);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      const message = `expected keys with values, found ${describeValue(value)}`;
      throw new ConfigError([{ file: null, line: null, path: [], message }]);
    }
    return build({ value: value as Record<string, unknown>, source: NO_SOURCE, problems: [] }, options);
  },

  /**
   * @param text YAML, or JSON where the name of `file` ends with `.json`.
   * @throws ConfigError with every problem, each with its line.
   */
  fromText(text: string, file: string, options: SpftConfigOptions = {}): SpftConfig {
    assertKnownOptions('SpftConfig.fromText', options, OPTIONS);
    return build(parseConfigText(text, file), options);
  },

  /** The config as a sparsity file has it: snake_cased, every key; `fromObject` reads it back. */
  toObject(config: SpftConfig): Record<string, unknown> {
    const values = Object.keys(SPARSITY_KEYS).map((key) => [snakeCase(key), config[key as keyof SparsityValues]]);
    return { ...Object.fromEntries(values), sparsity: { ...config.sparsity } };
  },

  /**
   * The config as upstream's newer generation keeps it beside an adapter (`sparselora_config.json`), or the keys whose values that layout cannot
   * say: read back without them, another run would come of it.
   */
  toRunLayout(
    config: SpftConfig,
  ): { readonly value: Record<string, unknown> } | { readonly unsaid: readonly string[] } {
    const value = writeRunLayout(config);
    if (value === null) return { unsaid: ['mode'] };
    const [own, read] = [config, SpftConfig.fromObject(value)].map(SpftConfig.toObject) as [Keys, Keys];
    // Where predictors are kept is the machine's affair.
    const unsaid = Object.keys(own).filter(
      (key) => key !== 'predictor_basepath' && JSON.stringify(own[key]) !== JSON.stringify(read[key]),
    );
    return unsaid.length > 0 ? { unsaid } : { value };
  },
};

type Keys = Record<string, unknown>;

function build(parsed: ParsedText, options: SpftConfigOptions): SpftConfig {
  const { keys, layersAt, baseModel, path, problems } = readLayout(parsed, options);
  const { sparsity, source, repeats } = readLayers(keys.sparsity as Record<string, number>, layersAt, parsed.source);
  const { values, places } = mergeKeys(keys, options, parsed.source);
  const conflicts = [
    ...problems,
    ...repeats,
    ...conflictsOf(values, sparsity, places),
    ...planConflicts(keys, values, places),
  ];
  if (conflicts.length > 0) throw new ConfigError(conflicts);
  const predictorPath = path ?? (layersAt[0] === 'modes' ? (options.directory ?? null) : null);
  // Upstream's default mode, `none`, is what a file without any sparsity may leave out.
  const mode = values.mode === 'none' ? 'dense' : values.mode;
  return Object.freeze({ ...values, mode, sparsity: Object.freeze(sparsity), predictorPath, baseModel, source });
}

/** Either layout as keys of a sparsity file. */
function readLayout({ value, source, problems }: ParsedText, { hubMode }: SpftConfigOptions) {
  if (isHubLayout(value)) return { ...readHubLayout(value, hubMode ?? 'o1', source, problems), problems: [] };
  const keys: Record<string, unknown> = {};
  for (const [name, written] of Object.entries(value)) {
    const spec = specOf(name);
    // Not by assignment: a key named __proto__ must be seen and rejected.
    const read = spec ? readFileValue(spec, written) : written;
    Object.defineProperty(keys, name, { value: read, enumerable: true });
  }
  const wrong = [...problems, ...validate('sparsity', keys, source)];
  if (hubMode !== undefined) {
    const message = `mode "${hubMode}" is asked for (sparsity_mode), and this file has no modes to choose from; leave it out`;
    wrong.push({ file: source.file, line: null, path: [], message });
  }
  if (wrong.length > 0) throw new ConfigError(wrong);
  return { keys, layersAt: ['sparsity'], baseModel: null, path: null, problems: [] };
}

/** Layers under their one name, and a source that finds them by it. */
function readLayers(written: Readonly<Record<string, number>>, at: readonly string[], source: ConfigSource) {
  const sparsity: Record<string, number> = {};
  const writtenAs = new Map<string, string>();
  const repeats: ConfigProblem[] = [];
  for (const [name, value] of Object.entries(written)) {
    const layer = layerName(name);
    const first = writtenAs.get(layer);
    if (first !== undefined) {
      const path = [...at, name];
      const message = `this layer is given twice, first as ${first}; keep one`;
      repeats.push({ file: source.file, line: source.lineOf(path), path, message });
    }
    writtenAs.set(layer, name);
    sparsity[layer] = value;
  }
  const lineOf = (path: readonly string[]) =>
    source.lineOf(path[0] === 'sparsity' ? [...at, ...path.slice(1).map((name) => writtenAs.get(name) ?? name)] : path);
  return { sparsity, repeats, source: { file: source.file, lineOf } };
}

type Place = Pick<ConfigProblem, 'file' | 'line' | 'path'>;

/** Flags over file over training config over defaults; and where each value came from. */
function mergeKeys(keys: Readonly<Record<string, unknown>>, options: SpftConfigOptions, source: ConfigSource) {
  const flags = new Set([...(options.flags ?? [])].map((flag) => camelCase(flag.replace(/^--/, ''))));
  const values: Record<string, unknown> = {};
  const places = new Map<string, Place>();
  for (const [key, spec] of Object.entries<KeySpec<unknown>>(SPARSITY_KEYS)) {
    const name = snakeCase(key);
    const trainKey = `spft${key[0]!.toUpperCase()}${key.slice(1)}` as TrainKey;
    const fromTrain = options.train?.[trainKey] ?? null;
    const isFlag = flags.has(trainKey) && fromTrain !== null;
    const inFile = Object.hasOwn(keys, name);
    if (inFile && !isFlag) {
      values[key] = keys[name];
      places.set(key, { file: source.file, line: source.lineOf([name]), path: [name] });
    } else {
      values[key] = fromTrain ?? spec.default;
      const path = fromTrain === null ? [name] : [isFlag ? `--spft_${name}` : `spft_${name}`];
      places.set(key, { file: fromTrain === null ? source.file : null, line: null, path });
    }
  }
  return { values: values as unknown as SparsityValues, places };
}

/** Values that are right one by one and wrong together. */
function conflictsOf(
  { mode, startStep, endStep }: SparsityValues,
  sparsity: Readonly<Record<string, number>>,
  places: ReadonlyMap<string, Place>,
): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const sparse = Object.values(sparsity).filter((value) => value > 0).length;
  if (mode === 'none' && sparse > 0) {
    const message = `${sparse} of the modules under sparsity are to be sparse, but nothing says who chooses their channels; set mode, e.g. svd_8`;
    problems.push({ ...places.get('mode')!, message });
  }
  const comparable = startStep <= 1 === endStep <= 1;
  if (comparable && startStep >= endStep) {
    const message = `expected an end after start_step (${startStep}), found ${endStep}; nothing would ever be sparse`;
    problems.push({ ...places.get('endStep')!, message });
  }
  return problems;
}

/** A plan was measured with the maps of its rank: with others, or none, it says nothing of the run. */
function planConflicts(
  keys: Readonly<Record<string, unknown>>,
  { compensationRank }: SparsityValues,
  places: ReadonlyMap<string, Place>,
): ConfigProblem[] {
  if ((keys.planned_for ?? null) === null) return [];
  const planned = Number(keys.compensation_rank ?? 0);
  if (planned === compensationRank) return [];
  const message = `the sparsities were planned and measured with compensation_rank ${planned}, found ${compensationRank}; leave it out, or plan for it (spft sparsity plan --compensation_rank ${compensationRank})`;
  return [{ ...places.get('compensationRank')!, message }];
}

function specOf(name: string): KeySpec<unknown> | null {
  const key = camelCase(name);
  return snakeCase(key) === name && Object.hasOwn(SPARSITY_KEYS, key)
    ? SPARSITY_KEYS[key as keyof SparsityValues]
    : null;
}
