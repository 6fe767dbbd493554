/**
 * @file CSV and TSV files as rows: the first line names the columns, and a field may hold line breaks where it is quoted (RFC 4180). In TSV
 * quotes are text, as in GLUE's files.
 */
import { Readable } from 'node:stream';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { CsvError, parse } from 'csv-parse';
import { DatasetError } from '../../data/dataset-error.js';
import { type Row, textOf } from './read-rows.js';

export type TableFormat = 'csv' | 'tsv';

/** The format that a file's name says; null for another. */
export function tableFormat(path: string): TableFormat | null {
  const extension = /\.(csv|tsv)(?:\.gz)?$/i.exec(path)?.[1]?.toLowerCase();
  return (extension as TableFormat | undefined) ?? null;
}

export interface TableOptions {
  /** Names of the columns of a file whose first line is a row already. */
  readonly columns?: readonly string[];
}

/**
 * Every row as an object of strings by column. A row with more or fewer fields than columns is one with a problem.
 * @throws DatasetError when the file cannot be read, or a quote is never closed.
 */
export async function* readTable(path: string, format: TableFormat, options: TableOptions = {}): AsyncGenerator<Row> {
  assertKnownOptions('readTable', options, { columns: true });
  const { columns } = options;
  let names: readonly string[] | null = columns ?? null;
  let line = 1;
  const parser = Readable.from(textOf(path)).compose(
    parse({
      bom: true,
      delimiter: format === 'csv' ? ',' : '\t',
      quote: format === 'csv' ? '"' : null,
      relax_column_count: true,
      skip_empty_lines: true,
      info: true,
    }),
  ) as AsyncIterable<{ info: { lines: number }; record: string[] }>;
  try {
    for await (const { info, record } of parser) {
      const begins = line;
      line = info.lines + 1;
      if (names === null) {
        names = headerOf(record, path);
        continue;
      }
      if (record.length !== names.length) {
        yield { line: begins, problem: `has ${record.length} fields, wanted ${names.length} (${names.join(', ')})` };
        continue;
      }
      yield { line: begins, value: Object.fromEntries(names.map((name, n) => [name, record[n]!])) };
    }
  } catch (error) {
    const cause = rootCause(error);
    if (cause instanceof DatasetError) throw cause;
    if (!(cause instanceof CsvError)) throw cause;
    const at = Number((cause as { lines?: unknown }).lines ?? line);
    throw new DatasetError(`${path}:${at}: is no valid ${format.toUpperCase()} (${cause.message}); mend it`, {
      ...{ file: path, line: at, cause },
    });
  }
}

/** The names of the first line. @throws DatasetError where one stands twice or is empty. */
function headerOf(record: readonly string[], path: string): readonly string[] {
  const twice = record.find((name, n) => record.indexOf(name) !== n);
  if (twice !== undefined || record.includes('')) {
    throw new DatasetError(
      `${path}:1: wanted the names of its columns in the first line, found ${twice === undefined ? 'an empty one' : `'${twice}' twice`}; does the file lack a header?`,
      { file: path, line: 1 },
    );
  }
  return record;
}

function rootCause(error: unknown): unknown {
  return error instanceof Error && error.name === 'AbortError' && error.cause !== undefined ? error.cause : error;
}
