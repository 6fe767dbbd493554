import { readFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { loadDataset } from '../node/index.js';
import { recordsOfText } from './records-of-text.js';

const ROW = '{"instruction": "a", "output": "b"}';

describe('recordsOfText()', () => {
  it('gives the records that loadDataset() gives of the same file', async () => {
    const path = 'examples/quickstart/data/train.json';
    const { records, badRows } = recordsOfText(await readFile(path, 'utf8'), path);
    expect(badRows).toEqual([]);
    expect(records).toEqual((await loadDataset(path)).records);
  });

  it('reads a row a line, with the line at which it stands', () => {
    const { records } = recordsOfText(`\n${ROW}\r\n\n{"text": "t"}\n`, 'pasted');
    expect(records.map(({ source }) => source)).toEqual([
      { file: 'pasted', line: 2 },
      { file: 'pasted', line: 4 },
    ]);
    expect(recordsOfText(`[${ROW}]`, 'x.json').records).toHaveLength(1);
  });

  it('says which row is bad, or skips it', () => {
    const text = `${ROW}\n{"instruction": 1}\n{"broken\n`;
    expect(() => recordsOfText(text, 'mine.jsonl')).toThrow(/^mine\.jsonl:2: .*mend the row/);
    const { records, badRows } = recordsOfText(text, 'mine.jsonl', { skipBadRows: true });
    expect(records).toHaveLength(1);
    expect(badRows.map(({ line }) => line)).toEqual([2, 3]);
    expect(badRows[1]!.problem).toContain('is no valid JSON');
  });

  it('says that there is nothing', () => {
    expect(() => recordsOfText(' \n', 'empty.jsonl')).toThrow(
      'empty.jsonl: has no row; wanted a JSON array of objects, or one object a line',
    );
    expect(() => recordsOfText('\u0089PNG\n1\n', 'cat.png', { skipBadRows: true })).toThrow(
      'cat.png: none of its 2 rows can be used; the first, line 1: is no valid JSON',
    );
  });
});
