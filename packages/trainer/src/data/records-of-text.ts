/**
 * @file Records of a text that lies in memory: pasted into a page, or of a file that was dropped on it. What counts as a row, and what is wrong with one, is
 * as in files on a disk (`loadDataset` of `/node`).
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { arrayElements } from './array-elements.js';
import { type DataRecord, parseDataRecord, RECORD_OPTIONS, type RecordOptions } from './data-record.js';
import { at, type BadRow, DatasetError } from './dataset-error.js';
import { parsed, type Row } from './row.js';

export interface RecordsOfTextOptions extends RecordOptions {
  /** Skip and count rows that cannot be used, instead of stopping at the first. Default false. */
  readonly skipBadRows?: boolean;
}

/**
 * Rows of a JSON array where the first character is `[` and the name does not end in `.jsonl`, else a row a line, empty lines left out.
 * @param name of the file, or another one, for messages.
 * @throws DatasetError when a row is bad, or there is none that can be used.
 */
export function recordsOfText(
  text: string,
  name: string,
  given: RecordsOfTextOptions = {},
): { records: DataRecord[]; badRows: BadRow[] } {
  assertKnownOptions('recordsOfText', given, { ...RECORD_OPTIONS, skipBadRows: true });
  const { skipBadRows = false, ...options } = given;
  const records: DataRecord[] = [];
  const badRows: BadRow[] = [];
  for (const { line, value, problem } of rowsOf(text, name)) {
    const source = { file: name, line };
    const record = problem ?? parseDataRecord(value, options);
    if (typeof record !== 'string') records.push({ ...record, source });
    else if (skipBadRows) badRows.push({ ...source, problem: record });
    else throw new DatasetError(`${at(source)}: ${record}; mend the row, or skip rows that cannot be used`, source);
  }
  if (records.length > 0) return { records, badRows };
  const first = badRows[0];
  throw new DatasetError(
    first === undefined
      ? `${name}: has no row; wanted a JSON array of objects, or one object a line`
      : `${name}: none of its ${badRows.length} rows can be used; the first, line ${first.line}: ${first.problem}`,
    { file: name, ...(first && { line: first.line }) },
  );
}

function* rowsOf(text: string, name: string): Generator<Row> {
  const plain = text.startsWith('\ufeff') ? text.slice(1) : text;
  if (!/\.jsonl$/i.test(name) && plain.trimStart().startsWith('[')) {
    yield* arrayElements(plain, name);
    return;
  }
  let line = 0;
  for (const row of plain.split('\n')) {
    line += 1;
    if (row.trim() !== '') yield { line, ...parsed(row) };
  }
}
