import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DatasetError } from '../../data/dataset-error.js';
import { type Row, readRows } from './read-rows.js';

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-rows-'));
});
afterAll(() => rm(directory, { recursive: true }));

async function rowsOf(name: string, content: string | Uint8Array): Promise<Row[]> {
  const path = join(directory, name);
  await writeFile(path, content);
  const rows: Row[] = [];
  for await (const row of readRows(path)) rows.push(row);
  return rows;
}

/** Compact, indented, and hard to take apart: brackets, quotes, commas and escapes in strings, nesting, bare values. */
const hard = [
  { a: '}],{"', b: ['\\', '\\"', { c: [] }] },
  { a: 'two\nlines \u2028 \u{1f600}', b: {} },
  ['nested', [1]],
  'a "string", with ]',
  -1.5e3,
  null,
  true,
  {},
];

describe('readRows()', () => {
  it.each([
    ['compact', JSON.stringify(hard)],
    ['indented', JSON.stringify(hard, null, 4)],
    [
      'indented by tabs, with Windows line ends',
      `\ufeff \r\n${JSON.stringify(hard, null, '\t').replaceAll('\n', '\r\n')}\r\n\r\n`,
    ],
  ])('takes a JSON array apart, %s', async (_, text) => {
    expect((await rowsOf('hard.json', text)).map((r) => r.value)).toEqual(hard);
  });

  it('knows the line on which an element begins', async () => {
    const rows = await rowsOf('lines.json', '[\n\n  {"a": 1,\n   "b": "x\\n"}, {"a": 2},\n\n\n  {\n"a": 3}]\n');
    expect(rows.map(({ line, value }) => [line, (value as { a: number }).a])).toEqual([
      [3, 1],
      [4, 2],
      [7, 3],
    ]);
  });

  it('reads an array that is one line as soon as one of many: no line feed is looked for twice', async () => {
    // Looked for once an element, this is 2 · 10¹² characters, and takes minutes.
    const rows = await rowsOf('line.json', `[${Array(500_000).fill('{"a":1}').join(',')}]`);
    expect(rows).toHaveLength(500_000);
    expect(rows.at(-1)).toMatchObject({ line: 1, value: { a: 1 } });
  }, 30_000);

  it('goes on after an element that is no JSON but closed', async () => {
    const rows = await rowsOf('element.json', '[{"a": 1},\n{"a": 1,},\nnope,\n{"a": 2}]');
    expect(rows.map((r) => [r.line, r.problem?.slice(0, 16) ?? r.value])).toEqual([
      [1, { a: 1 }],
      [2, 'is no valid JSON'],
      [3, 'is no valid JSON'],
      [4, { a: 2 }],
    ]);
  });

  it.each([
    ['[{"a": 1}\n{"a": 2}]', ":2: wanted ',' or ']' after an element, found '{\"a\": 2}]'"],
    ['[{"a": 1},\n', ':2: wanted an element, found the end of the file'],
    ['[{"a": 1},\n]', ":2: wanted an element, found ']'"],
    ['[{"a": 1}', ":1: wanted ',' or ']' after an element, found the end of the file"],
    ['[{"a": 1}]\n[]', ":2: wanted nothing after the array, found '[]'"],
    ['[', ':1: wanted an element, found the end of the file'],
  ])('refuses the broken array %j', async (text, message) => {
    const rows = rowsOf('broken.json', text);
    await expect(rows).rejects.toThrow(DatasetError);
    await expect(rows).rejects.toThrow(`broken.json${message}; mend the array, or download it again`);
  });

  it('reports an element that never ends, by the line on which it begins', async () => {
    const rows: Row[] = [];
    await writeFile(join(directory, 'open.json'), '[{"a": 1},\n{"a": "x}\n]');
    await expect(async () => {
      for await (const row of readRows(join(directory, 'open.json'))) rows.push(row);
    }).rejects.toThrow('after an element, found the end of the file');
    expect(rows.map((r) => [r.line, r.problem !== undefined])).toEqual([
      [1, false],
      [2, true],
    ]);
  });

  it('reads a row a line, without empty lines, and splits at line feeds alone', async () => {
    const text = '{"a": "\u2028"}\r\n\n  \n{"a": 2}\nnot json\n[3]\n{"a": 4}';
    for (const name of ['rows.jsonl', 'rows.json', 'rows']) {
      const rows = await rowsOf(name, text);
      expect(rows.map((r) => [r.line, r.problem?.slice(0, 16) ?? r.value])).toEqual([
        [1, { a: '\u2028' }],
        [4, { a: 2 }],
        [5, 'is no valid JSON'],
        [6, [3]],
        [7, { a: 4 }],
      ]);
    }
    expect((await rowsOf('array.jsonl', '[1]\n{}')).map((r) => r.value)).toEqual([[1], {}]);
  });

  it('reads rows that span the pieces in which a file comes, characters cut in two included', async () => {
    const many = Array.from({ length: 3000 }, (_, i) => ({ i, text: `${'é😀'.repeat(30)}${i}` }));
    const text = many.map((r) => JSON.stringify(r)).join('\n');
    expect((await rowsOf('many.jsonl', text)).map((r) => r.value)).toEqual(many);
    expect((await rowsOf('many.json', JSON.stringify(many, null, 2))).map((r) => r.value)).toEqual(many);
  });

  it('reads a line of many pieces once, not again at each piece', async () => {
    // Joined and searched anew at each of a thousand pieces, this would take hours.
    const text = 'x'.repeat(1 << 26);
    const rows = await rowsOf('long.jsonl', `{"a": 1}\n{"text": "${text}"}\n{"a": 2}`);
    expect(rows.map(({ line }) => line)).toEqual([1, 2, 3]);
    expect((rows[1]!.value as { text: string }).text.length).toBe(text.length);
    expect((await rowsOf('blank.json', `${' '.repeat(1 << 26)}\n[1]`)).map((r) => r.line)).toEqual([2]);
  });

  it('counts lines over blanks that come before the first row', async () => {
    const blank = ' \n'.repeat(100_000);
    expect(await rowsOf('late.jsonl', `${blank}{"a": 1}`)).toEqual([{ line: 100_001, value: { a: 1 } }]);
    expect(await rowsOf('late.json', `${blank}[{"a": 1}]`)).toEqual([{ line: 100_001, value: { a: 1 } }]);
  });

  it('decompresses gzip, whatever the name says', async () => {
    for (const name of ['rows.jsonl.gz', 'rows.jsonl']) {
      expect(await rowsOf(name, gzipSync('{"a": 1}\n{"a": 2}\n'))).toEqual([
        { line: 1, value: { a: 1 } },
        { line: 2, value: { a: 2 } },
      ]);
    }
    expect(await rowsOf('rows.json.gz', gzipSync('[{"a": 1}]'))).toEqual([{ line: 1, value: { a: 1 } }]);
  });

  it('finds no row in an empty file or array', async () => {
    expect(await rowsOf('empty.json', '')).toEqual([]);
    expect(await rowsOf('blank.jsonl', ' \n\n')).toEqual([]);
    expect(await rowsOf('none.json', ' [ ] ')).toEqual([]);
  });

  it('gives up a file that unpacks to hundreds of times its size', async () => {
    const bomb = gzipSync(Buffer.alloc(2 ** 27, 0x20));
    await expect(rowsOf('bomb.jsonl.gz', bomb)).rejects.toThrow(DatasetError);
    await expect(rowsOf('bomb.json.gz', bomb)).rejects.toThrow('damaged or made to harm');
  });

  it('says what is wrong with a file that cannot be read', async () => {
    const gzip = gzipSync(JSON.stringify(Array.from({ length: 2000 }, (_, i) => i * 7919)));
    await expect(rowsOf('cut.json.gz', gzip.subarray(0, gzip.length / 2))).rejects.toThrow('is damaged gzip');
    await expect(rowsOf('latin1.json', Buffer.from('["caf\xe9"]', 'latin1'))).rejects.toThrow('is no text in UTF-8');
    await expect(readRows(join(directory, 'absent.json')).next()).rejects.toThrow('there is no such file');
    await expect(readRows(directory).next()).rejects.toThrow('is a directory');
  });
});
