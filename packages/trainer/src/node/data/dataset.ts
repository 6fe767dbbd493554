/**
 * @file Datasets from disk: by path, by upstream's names, which are downloaded where they are missing, and mixtures of them.
 */
import { existsSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import type { DownloadOptions } from '@spft/models/node';
import { assertKnownOptions, nearestName, type OptionNames } from '@spft/safetensors/internals';
import { type CatalogFile, DATASETS_URL, findTrainingSet, TRAINING_SET_NAMES } from '../../data/catalog.js';
import { type ColumnMap, type DataRecord, parseDataRecord, RECORD_OPTIONS } from '../../data/data-record.js';
import { at, type BadRow, DatasetError, type RowSource } from '../../data/dataset-error.js';
import { directoryFiles, hubFiles, parseHubDataset } from './data-directory.js';
import { readDataRows } from './data-rows.js';
import { FETCH_OPTIONS, type FetchOptions, fetchDataset } from './download.js';
import { loadNamedSet, NAMED_SETS } from './named-sets.js';

export interface DatasetOptions extends FetchOptions {
  /** Where datasets with names lie and are downloaded to. Default: `SPFT_DATASETS`, else `datasets` in the working directory. */
  readonly datasetsDir?: string;
  /** Where they are downloaded from: a copy of LLM-Adapters. Default: `SPFT_DATASETS_URL`, else GitHub. */
  readonly baseUrl?: string;
  /** Download what is missing. Default true. */
  readonly download?: boolean;
  /** Skip and count rows that cannot be used, instead of stopping at the first. Default false. */
  readonly skipBadRows?: boolean;
  /** Which subset of a repository or directory, e.g. `rte`. Default: the only or the default one. */
  readonly config?: string | null;
  /** Which split of a repository or directory. Default `train`. */
  readonly split?: string;
  /** Branch, tag or commit of data sets on the hub that name none (`OWNER/NAME@REVISION`). */
  readonly revision?: string | null;
  /** Columns by the fields that they stand for; otherwise rows are read by the names that their columns have. */
  readonly columns?: ColumnMap;
  /** Column of bare text. Default `text`. */
  readonly textField?: string | null;
  /** Told while files of the hub come. */
  readonly onHubProgress?: DownloadOptions['onProgress'];
  /** Read no more rows than this, which spares the rest of a large file. */
  readonly limit?: number;
}

export const DATASET_OPTIONS: OptionNames<DatasetOptions> = {
  ...FETCH_OPTIONS,
  ...RECORD_OPTIONS,
  ...{ datasetsDir: true, baseUrl: true, download: true, revision: true, config: true, split: true },
  ...{ skipBadRows: true, onHubProgress: true, limit: true },
};

export interface LoadedDataset {
  readonly records: DataRecord[];
  /** Rows that were skipped. */
  readonly badRows: BadRow[];
  /** The files that were read. */
  readonly files: string[];
}

/**
 * Loads a dataset, or several joined by `+`, one after the other: paths of parquet, JSON, JSONL, CSV or TSV files, of directories of them, ids of
 * data sets on the hub, or the names `math10k`, `csr170k`; rows in any of the forms of `parseDataRecord`.
 * @throws DatasetError when there is no such dataset, it cannot be fetched or read, a row is bad, or there is no row; HubError of the hub.
 */
export async function loadDataset(spec: string, options: DatasetOptions = {}): Promise<LoadedDataset> {
  assertKnownOptions('loadDataset', options, DATASET_OPTIONS);
  const { columns, textField, skipBadRows, onHubProgress } = options;
  const loaded: LoadedDataset = { records: [], badRows: [], files: [] };
  for (const part of specParts(spec)) {
    const named = existsSync(part)
      ? null
      : await loadNamedSet(part, { skipBadRows, limit: options.limit, onHubProgress });
    if (named !== null) {
      for (const record of named.records) loaded.records.push(record);
      for (const bad of named.badRows) loaded.badRows.push(bad);
      loaded.files.push(...named.files);
      continue;
    }
    for (const file of await locateFiles(part, options)) {
      if (options.limit !== undefined && loaded.records.length >= options.limit) break;
      const limit = options.limit === undefined ? undefined : options.limit - loaded.records.length;
      const { rows, badRows } = await readParsed(file, { ...options, limit }, (value, source) => {
        const record = parseDataRecord(value, { columns, textField });
        return typeof record === 'string' ? record : { ...record, source };
      });
      loaded.files.push(file);
      // Not pushed as arguments of one call: a hundred thousand would exceed the stack.
      for (const record of rows) loaded.records.push(record);
      for (const bad of badRows) loaded.badRows.push(bad);
    }
  }
  return loaded;
}

/** The parts of a mixture; a file with `+` in its name is one part. @throws DatasetError when one is empty. */
export function specParts(spec: string): string[] {
  const parts = existsSync(spec) ? [spec] : spec.split('+').map((part) => part.trim());
  if (parts.every((part) => part !== '')) return parts;
  throw new DatasetError(`'${spec}': wanted names or paths joined by '+', found an empty one`);
}

/** The files of a training set, downloaded if it has a name or is on the hub, and is missing. */
export async function locateFiles(part: string, options: DatasetOptions): Promise<string[]> {
  assertKnownOptions('locateFiles', options, DATASET_OPTIONS);
  const choice = { config: options.config ?? null, split: options.split ?? 'train' };
  if (existsSync(part)) return statSync(part).isDirectory() ? directoryFiles(part, choice) : [part];
  // Upstream's training files say `datasets/math_10k.json`: the name with its place.
  const known = findTrainingSet(part) ?? findTrainingSet(basename(part, '.json'));
  if (known !== null) return [await locate(known, options)];
  // A folder that is there makes it a path with a mistake, and no question to the hub.
  const hub = existsSync(dirname(part)) && dirname(part) !== '.' ? null : parseHubDataset(part);
  if (hub !== null) {
    const revision = hub.revision ?? options.revision ?? null;
    return hubFiles({ ...hub, revision }, choice, { onProgress: options.onHubProgress });
  }
  const near = nearestName(part, [...TRAINING_SET_NAMES, ...NAMED_SETS]);
  throw new DatasetError(
    `there is no dataset '${part}': no such file, no such name, and no id on the hub (OWNER/NAME)${near === null ? '' : `; did you mean '${near}'?`} (names: ${[...TRAINING_SET_NAMES, ...NAMED_SETS].join(', ')})`,
    { file: part },
  );
}

/** The place of a file with a name, after downloading it if it is nowhere. */
export async function locate(file: CatalogFile, options: DatasetOptions): Promise<string> {
  const directory = resolve(options.datasetsDir ?? (process.env.SPFT_DATASETS || 'datasets'));
  const path = join(directory, file.path);
  const there = [path, ...file.alternatives.map((name) => join(directory, name))].find((p) => existsSync(p));
  if (there !== undefined) return there;
  const base = (options.baseUrl ?? (process.env.SPFT_DATASETS_URL || DATASETS_URL)).replace(/\/+$/, '');
  const url = `${base}/${file.remote}`;
  if (options.download === false) {
    throw new DatasetError(
      `${path}: is missing, and may not be downloaded; put ${url} there, or name the directory where it lies (SPFT_DATASETS)`,
      { file: path },
    );
  }
  const { onProgress, idleTimeoutMs } = options;
  await fetchDataset(url, path, { onProgress, idleTimeoutMs });
  return path;
}

/**
 * All rows of one file.
 * @param parse what a row means, or the problem with it as text.
 */
export async function readParsed<T extends object>(
  file: string,
  { skipBadRows = false, limit = Infinity }: Pick<DatasetOptions, 'skipBadRows' | 'limit'>,
  parse: (value: unknown, source: RowSource) => T | string,
): Promise<{ rows: T[]; badRows: BadRow[] }> {
  const rows: T[] = [];
  const badRows: BadRow[] = [];
  for await (const { line, value, problem } of readDataRows(file)) {
    const source = { file, line };
    const row = problem ?? parse(value, source);
    if (typeof row !== 'string') {
      rows.push(row);
      if (rows.length >= limit) break;
    } else if (skipBadRows) badRows.push({ ...source, problem: row });
    else throw new DatasetError(`${at(source)}: ${row}; mend the row, or skip such rows (--skip-bad-rows)`, source);
  }
  if (rows.length === 0) {
    const first = badRows[0];
    throw new DatasetError(
      first === undefined
        ? `${file}: has no row; wanted a JSON array of objects, or one object a line`
        : `${file}: none of its ${badRows.length} rows can be used; the first, line ${first.line}: ${first.problem}`,
      { file, ...(first && { line: first.line }) },
    );
  }
  return { rows, badRows };
}
