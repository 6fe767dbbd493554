/**
 * @file Datasets from disk: by path, by upstream's names, which are downloaded where they are missing, and mixtures of them.
 */
import { existsSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { nearestName } from '@spft/config';
import { type CatalogFile, DATASETS_URL, findTrainingSet, TRAINING_SET_NAMES } from '../../data/catalog.js';
import { at, type BadRow, DatasetError, type RowSource } from '../../data/dataset-error.js';
import { type InstructionRecord, parseRecord } from '../../data/record.js';
import { type FetchOptions, fetchDataset } from './download.js';
import { readRows } from './read-rows.js';

export interface DatasetOptions extends FetchOptions {
  /** Where datasets with names lie and are downloaded to. Default: `SPFT_DATASETS`, else `datasets` in the working directory. */
  readonly datasetsDir?: string;
  /** Where they are downloaded from: a copy of LLM-Adapters. Default: `SPFT_DATASETS_URL`, else GitHub. */
  readonly baseUrl?: string;
  /** Download what is missing. Default true. */
  readonly download?: boolean;
  /** Skip and count rows that cannot be used, instead of stopping at the first. Default false. */
  readonly skipBadRows?: boolean;
}

export interface LoadedDataset {
  readonly records: InstructionRecord[];
  /** Rows that were skipped. */
  readonly badRows: BadRow[];
  /** The files that were read. */
  readonly files: string[];
}

/**
 * Loads a dataset, or several joined by `+`, one after the other: paths of JSON, JSONL or gzipped files in any of the formats of
 * `parseRecord`, or the names `math10k`, `csr170k`.
 * @throws DatasetError when there is no such dataset, it cannot be fetched or read, a row is bad, or there is no row.
 */
export async function loadDataset(spec: string, options: DatasetOptions = {}): Promise<LoadedDataset> {
  const loaded: LoadedDataset = { records: [], badRows: [], files: [] };
  for (const part of specParts(spec)) {
    const file = await locateTrainingSet(part, options);
    const { rows, badRows } = await readParsed(file, options, (value, source) => {
      const record = parseRecord(value);
      return typeof record === 'string' ? record : { ...record, source };
    });
    loaded.files.push(file);
    // Not pushed as arguments of one call: a hundred thousand would exceed the stack.
    for (const record of rows) loaded.records.push(record);
    for (const bad of badRows) loaded.badRows.push(bad);
  }
  return loaded;
}

/** The parts of a mixture; a file with `+` in its name is one part. @throws DatasetError when one is empty. */
export function specParts(spec: string): string[] {
  const parts = existsSync(spec) ? [spec] : spec.split('+').map((part) => part.trim());
  if (parts.every((part) => part !== '')) return parts;
  throw new DatasetError(`'${spec}': wanted names or paths joined by '+', found an empty one`);
}

/** The file of a training set, downloaded if it has a name and is missing. */
async function locateTrainingSet(part: string, options: DatasetOptions): Promise<string> {
  if (existsSync(part)) return part;
  // Upstream's training files say `datasets/math_10k.json`: the name with its place.
  const known = findTrainingSet(part) ?? findTrainingSet(basename(part, '.json'));
  if (known !== null) return locate(known, options);
  const near = nearestName(part, TRAINING_SET_NAMES);
  throw new DatasetError(
    `there is no dataset '${part}': no such file, and no such name${near === null ? '' : `; did you mean '${near}'?`} (names: ${TRAINING_SET_NAMES.join(', ')})`,
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
  await fetchDataset(url, path, options);
  return path;
}

/**
 * All rows of one file.
 * @param parse what a row means, or the problem with it as text.
 */
export async function readParsed<T extends object>(
  file: string,
  { skipBadRows = false }: Pick<DatasetOptions, 'skipBadRows'>,
  parse: (value: unknown, source: RowSource) => T | string,
): Promise<{ rows: T[]; badRows: BadRow[] }> {
  const rows: T[] = [];
  const badRows: BadRow[] = [];
  for await (const { line, value, problem } of readRows(file)) {
    const source = { file, line };
    const row = problem ?? parse(value, source);
    if (typeof row !== 'string') rows.push(row);
    else if (skipBadRows) badRows.push({ ...source, problem: row });
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
