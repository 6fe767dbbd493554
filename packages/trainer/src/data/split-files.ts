/**
 * @file Which files of a data set's repository or directory hold a split: as its README says (`configs`), else by the words in their names, the
 * rules of Hugging Face's `datasets`.
 */
import { nearestName } from '@spft/safetensors/internals';
import { DatasetError } from './dataset-error.js';

export interface SplitChoice {
  /** Named subset, e.g. `rte` of GLUE; null for the only or the default one. */
  readonly config: string | null;
  readonly split: string;
}

/** One entry of `configs` in a README's head. */
export interface ReadmeConfig {
  readonly config_name?: unknown;
  readonly data_files?: unknown;
  readonly data_dir?: unknown;
  readonly default?: unknown;
}

const DATA_FILE = /\.(parquet|jsonl|json|csv|tsv)(\.gz)?$/i;
const NO_DATA = /(^|\/)(\.|dataset_infos?\.json$|dataset_dict\.json$|state\.json$|package(-lock)?\.json$|README)/i;
/** A split's word stands alone between separators, as `datasets` has it. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  train: ['train', 'training'],
  validation: ['validation', 'valid', 'val', 'dev'],
  test: ['test', 'testing', 'eval', 'evaluation'],
};

/**
 * @param files every file of the repository.
 * @param configs of the README's head; empty where it has none.
 * @param name of the data set, for messages.
 * @returns the files of the split, in order of their names; at least one.
 * @throws DatasetError naming the configs or splits that there are.
 */
export function splitFiles(
  files: readonly string[],
  configs: readonly ReadmeConfig[],
  { config, split }: SplitChoice,
  name: string,
): string[] {
  const data = files.filter((file) => DATA_FILE.test(file) && !NO_DATA.test(file)).sort();
  const described = configs.filter((one) => one.data_files !== undefined || one.data_dir !== undefined);
  return described.length > 0
    ? fromReadme(data, described, { config, split }, name)
    : fromNames(data, { config, split }, name);
}

function fromReadme(
  data: readonly string[],
  configs: readonly ReadmeConfig[],
  { config, split }: SplitChoice,
  name: string,
): string[] {
  const names = configs.map((one) => String(one.config_name ?? 'default'));
  const index =
    config !== null
      ? names.indexOf(config)
      : Math.max(
          configs.findIndex((one) => one.default === true),
          names.indexOf('default'),
          configs.length === 1 ? 0 : -1,
        );
  if (index < 0) {
    throw new DatasetError(
      config === null
        ? `${name}: has several subsets; choose one by --dataset_config: ${names.join(', ')}`
        : `${name}: has no subset '${config}'${hint(config, names)} (there are ${names.join(', ')})`,
    );
  }
  const chosen = configs[index]!;
  const directory = typeof chosen.data_dir === 'string' ? `${chosen.data_dir.replace(/^\.?\/|\/$/g, '')}/` : '';
  if (chosen.data_files === undefined) {
    return fromNames(
      data.filter((file) => file.startsWith(directory)),
      { config: null, split },
      name,
    );
  }
  const patterns = patternsBySplit(chosen.data_files);
  const wanted = patterns.get(split);
  if (wanted === undefined) throw noSplit(name, split, [...patterns.keys()]);
  const found = data.filter((file) => wanted.some((pattern) => glob(`${directory}${pattern}`).test(file)));
  if (found.length > 0) return found;
  throw new DatasetError(`${name}: its README names ${wanted.join(', ')} for '${split}', and there is no such file`);
}

/** `data_files`: a pattern or a list of them for `train`, an object by split, or a list of `{split, path}`. */
function patternsBySplit(value: unknown): Map<string, string[]> {
  const list = (paths: unknown) => (Array.isArray(paths) ? paths : [paths]).map(String);
  const entries: [string, string[]][] =
    typeof value === 'string'
      ? [['train', [value]]]
      : Array.isArray(value)
        ? value.every((one) => typeof one === 'string')
          ? [['train', list(value)]]
          : value.map((one: { split?: unknown; path?: unknown }) => [String(one.split ?? 'train'), list(one.path)])
        : Object.entries(value as object).map(([split, paths]) => [split, list(paths)]);
  const by = new Map<string, string[]>();
  for (const [split, paths] of entries) by.set(split, [...(by.get(split) ?? []), ...paths]);
  return by;
}

function fromNames(data: readonly string[], { config, split }: SplitChoice, name: string): string[] {
  if (data.length === 0) {
    throw new DatasetError(
      `${name}: has no file that is read (parquet, JSON, JSON lines, CSV, TSV, also with .gz); a data set that is made by a script has its parquet files in the revision refs/convert/parquet`,
    );
  }
  const within =
    config === null
      ? data
      : data.filter((file) => words(file).includes(config.toLowerCase()) || file.split('/').includes(config));
  if (within.length === 0) {
    const folders = [...new Set(data.filter((f) => f.includes('/')).map((f) => f.split('/')[0]!))];
    throw new DatasetError(
      `${name}: no file belongs to the subset '${config}'${hint(config!, folders)}; it has ${data.slice(0, 8).join(', ')}`,
    );
  }
  const by = new Map<string, string[]>();
  for (const file of within) {
    const of = splitOf(file, split);
    if (of !== null) by.set(of, [...(by.get(of) ?? []), file]);
  }
  const found = by.get(split);
  if (found !== undefined) return found;
  // Files that name no split are all training data.
  if (by.size === 0 && split === 'train') return [...within];
  throw noSplit(name, split, by.size === 0 ? ['train'] : [...by.keys()]);
}

/** The split that a file's path says, its name before its folders; `asked` may be one of another name. */
function splitOf(file: string, asked: string): string | null {
  const parts = file.replace(DATA_FILE, '').split('/').reverse();
  for (const part of parts) {
    const in_ = words(part);
    if (part.toLowerCase().startsWith(asked.toLowerCase()) && !(asked in WORDS)) return asked;
    for (const [split, names] of Object.entries(WORDS)) {
      if (in_.some((word) => names.includes(word))) {
        // `validation_matched-00000-of-00001`: a split of its own.
        const own = /^([a-z]+_[a-z_]+)-\d{5}-of-\d{5}/i.exec(part)?.[1];
        return own ?? split;
      }
    }
  }
  return null;
}

const words = (text: string): string[] => text.toLowerCase().split(/[^a-z0-9]+/);

const hint = (name: string, names: readonly string[]): string => {
  const near = nearestName(name, names);
  return near === null ? '' : `; did you mean '${near}'?`;
};

function noSplit(name: string, split: string, splits: readonly string[]): DatasetError {
  return new DatasetError(
    `${name}: has no split '${split}'${hint(split, splits)} (there ${splits.length === 1 ? 'is' : 'are'} ${splits.join(', ')}); choose one by --splits`,
  );
}

/** `data/train-*`, `**` for any folders. */
function glob(pattern: string): RegExp {
  const source = pattern
    .replace(/^\.\//, '')
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replace(/\*\*\/?|\*|\?/g, (mark) => (mark.startsWith('**') ? '.*' : mark === '*' ? '[^/]*' : '[^/]'));
  return new RegExp(`^${source}$`);
}
