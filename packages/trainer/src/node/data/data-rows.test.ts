import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetError } from '../../data/dataset-error.js';
import { readDataRows } from './data-rows.js';
import { readTable } from './read-table.js';

const fixtures = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));
let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-rows-'));
});
afterAll(() => rm(directory, { recursive: true }));

async function rows(name: string, content?: string | Uint8Array) {
  const path = content === undefined ? join(fixtures, name) : join(directory, name);
  if (content !== undefined) await writeFile(path, content);
  const all = [];
  for await (const row of readDataRows(path)) all.push(row);
  return all;
}

describe('readDataRows() of parquet', () => {
  it('reads lists of structs over several groups of rows, compressed by zstd', async () => {
    const read = await rows('messages.zstd.parquet');
    expect(read.map(({ line }) => line)).toEqual([1, 2, 3]);
    expect(read[0]!.value).toEqual({
      messages: [
        { role: 'user', content: 'q1' },
        { role: 'assistant', content: 'ä1' },
      ],
      idx: 1,
    });
    expect((read[2]!.value as { idx: unknown }).idx).toBe(2 ** 40);
  });

  it('reads the columns of GLUE, compressed by snappy, whatever the name says', async () => {
    const bytes = await readFile(join(fixtures, 'rte-train.snappy.parquet'));
    expect((await rows('renamed.json', bytes))[2]!.value).toEqual({
      ...{ sentence1: 'He said "yes".', sentence2: 'He agreed.', label: 0, idx: 2 },
    });
  });

  it('refuses a file that is cut or is none', async () => {
    const bytes = await readFile(join(fixtures, 'rte-train.snappy.parquet'));
    await expect(rows('cut.parquet', bytes.subarray(0, 700))).rejects.toThrow(
      /cut\.parquet: cannot be read as parquet/,
    );
    await expect(rows('text.parquet', 'instruction,output\n')).rejects.toThrow(DatasetError);
    await expect(rows('gone.parquet')).rejects.toThrow('there is no such file');
  });
});

describe('readDataRows() of tables', () => {
  it('reads CSV with quotes and line breaks in fields, each row with the line on which it begins', async () => {
    const csv = 'instruction,output\r\n"a ""b"", c","d\ne"\r\nf,g\r\n';
    const expected = [
      { line: 2, value: { instruction: 'a "b", c', output: 'd\ne' } },
      { line: 4, value: { instruction: 'f', output: 'g' } },
    ];
    expect(await rows('a.csv', csv)).toEqual(expected);
    expect(await rows('a.csv.gz', gzipSync(csv))).toEqual(expected);
  });

  it('reads TSV, in which quotes are text', async () => {
    expect(await rows('a.tsv', 'index\tsentence\n0\t"Yes" he said\n')).toEqual([
      { line: 2, value: { index: '0', sentence: '"Yes" he said' } },
    ]);
  });

  it('takes names of columns for a file without a header', async () => {
    const path = join(directory, 'cola.tsv');
    await writeFile(path, 'gj04\t1\t\tHe ran.\n');
    const all = [];
    for await (const row of readTable(path, 'tsv', { columns: ['source', 'label', 'mark', 'sentence'] })) all.push(row);
    expect(all).toEqual([{ line: 1, value: { source: 'gj04', label: '1', mark: '', sentence: 'He ran.' } }]);
  });

  it('says what is wrong with a row and goes on', async () => {
    expect(await rows('b.csv', 'a,b\n1\n1,2\n')).toEqual([
      { line: 2, problem: 'has 1 fields, wanted 2 (a, b)' },
      { line: 3, value: { a: '1', b: '2' } },
    ]);
  });

  it.each([
    ['a,b\n"never closed', 'is no valid CSV'],
    ['a,a\n1,2\n', "found 'a' twice; does the file lack a header?"],
  ])('refuses %j', async (text, message) => {
    await expect(rows('c.csv', text)).rejects.toThrow(message);
    await expect(rows('c.csv', text)).rejects.toThrow(DatasetError);
  });
});
