/**
 * @file The rows of a data file, whatever its format: parquet by its first bytes, CSV and TSV by its name, else JSON or JSON lines; all but
 * parquet may be compressed by gzip.
 */
import { isParquet, readParquet } from './read-parquet.js';
import { type Row, readRows } from './read-rows.js';
import { readTable, tableFormat } from './read-table.js';

/** Row by row. @throws DatasetError when the file cannot be read, or is not of the format that it says. */
export async function* readDataRows(path: string): AsyncGenerator<Row> {
  const format = tableFormat(path);
  if (await isParquet(path)) yield* readParquet(path);
  else if (format !== null) yield* readTable(path, format);
  else yield* readRows(path);
}
