/**
 * @file Parquet files as rows, by hyparquet, one group of rows in memory at a time: how the hub keeps data sets.
 */
import { open } from 'node:fs/promises';
import { asyncBufferFromFile, type FileMetaData, parquetMetadataAsync, parquetReadObjects } from 'hyparquet';
import { compressors } from 'hyparquet-compressors';
import { DatasetError } from '../../data/dataset-error.js';
import type { Row } from './read-rows.js';

/** Whether the first bytes are parquet's; false for a file that cannot be opened, which its reader will say. */
export async function isParquet(path: string): Promise<boolean> {
  const file = await open(path).catch(() => null);
  if (file === null) return /\.parquet$/i.test(path);
  try {
    const { bytesRead, buffer } = await file.read(new Uint8Array(4), 0, 4, 0);
    return (bytesRead === 4 && new TextDecoder().decode(buffer) === 'PAR1') || /\.parquet$/i.test(path);
  } catch {
    return false;
  } finally {
    await file.close();
  }
}

/**
 * Every row as an object; `line` is its number. Whole numbers of 64 bits become numbers where these hold them exactly.
 * @throws DatasetError when the file is damaged or encrypted.
 */
export async function* readParquet(path: string): AsyncGenerator<Row> {
  const broken = (cause: unknown) => {
    const { code, message } = cause as NodeJS.ErrnoException;
    return new DatasetError(
      code === 'ENOENT'
        ? `${path}: there is no such file; check the path`
        : `${path}: cannot be read as parquet (${message}); download it again`,
      { file: path, cause },
    );
  };
  let file: Awaited<ReturnType<typeof asyncBufferFromFile>>;
  let metadata: FileMetaData;
  try {
    file = await asyncBufferFromFile(path);
    metadata = await parquetMetadataAsync(file);
  } catch (cause) {
    throw broken(cause);
  }
  let start = 0;
  for (const group of metadata.row_groups) {
    const end = start + Number(group.num_rows);
    let rows: Record<string, unknown>[];
    try {
      rows = await parquetReadObjects({ file, metadata, compressors, rowStart: start, rowEnd: end });
    } catch (cause) {
      throw broken(cause);
    }
    for (const [n, row] of rows.entries()) yield { line: start + n + 1, value: plain(row) };
    start = end;
  }
}

/** Without BigInt where a number is exact, down to the elements of lists and structs. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') {
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype) {
    return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, plain(v)]));
  }
  return value;
}
