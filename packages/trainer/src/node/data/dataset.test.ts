import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type FileServer, serveFiles } from '../../../test/file-server.js';
import { DatasetError } from '../../data/dataset-error.js';
import type { InstructionRecord } from '../../data/record.js';
import { type LoadedDataset, loadDataset } from './dataset.js';

/** Of files that hold instructions alone. */
const load = async (...given: Parameters<typeof loadDataset>) =>
  (await loadDataset(...given)) as Omit<LoadedDataset, 'records'> & { readonly records: InstructionRecord[] };

const row = (n: number) => ({ instruction: `question ${n}`, input: '', output: `answer ${n}`, answer: `${n}` });

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-dataset-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});

async function file(name: string, content: string | Uint8Array): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, content);
  return path;
}

describe('loadDataset()', () => {
  it('joins a mixture in its order, each record with its file and line', async () => {
    const a = await file('a.json', JSON.stringify([row(1), row(2)], null, 4));
    const b = await file('b.jsonl', `${JSON.stringify({ question: 'q', answer: 'so\n#### 3' })}\n`);
    const c = await file('c.jsonl.gz', gzipSync(JSON.stringify(row(4))));
    const { records, badRows, files } = await load(`${a}+${b} + ${c}`);
    expect(records.map((r) => [r.instruction, r.answer, r.source])).toEqual([
      ['question 1', '1', { file: a, line: 2 }],
      ['question 2', '2', { file: a, line: 8 }],
      ['q', '3', { file: b, line: 1 }],
      ['question 4', '4', { file: c, line: 1 }],
    ]);
    expect([badRows, files]).toEqual([[], [a, b, c]]);
  });

  it('takes a file whose name has a plus for one', async () => {
    const path = await file('a+b.json', JSON.stringify([row(1)]));
    expect((await load(path)).files).toEqual([path]);
  });

  it.each([
    ['is no object', '"text"', 'wanted an object {"instruction": …, "output": …}, found "text"'],
    ['lacks a field', '{"instruction": "x"}', "lacks 'output' (a string); it has 'instruction'"],
    ['has another type', '{"instruction": 5, "output": ""}', "wanted a string in 'instruction', found 5"],
    ['is no JSON', '{"instruction": }', 'is no valid JSON'],
  ])('names file and line of a row that %s, or skips and counts it', async (_, bad, problem) => {
    const jsonl = await file('rows.jsonl', `${JSON.stringify(row(1))}\n\n${bad}\n${JSON.stringify(row(2))}\n`);
    const array = await file('rows.json', `[\n  ${JSON.stringify(row(1))},\n  ${bad},\n${JSON.stringify(row(2))}]`);
    for (const path of [jsonl, array]) {
      const error = (await load(path).catch((e: unknown) => e)) as DatasetError;
      expect(error).toBeInstanceOf(DatasetError);
      expect(error).toMatchObject({ code: 'SPFT_DATASET', file: path, line: 3 });
      expect(error.message).toContain(`${path}:3: ${problem}`);
      expect(error.message).toContain('or skip such rows (--skip-bad-rows)');
      const { records, badRows } = await load(path, { skipBadRows: true });
      expect(records.map((r) => r.answer)).toEqual(['1', '2']);
      expect(badRows).toEqual([{ file: path, line: 3, problem: expect.stringContaining(problem) }]);
    }
  });

  it('refuses a file without a row, or without a good one', async () => {
    await expect(loadDataset(await file('empty.jsonl', '\n'))).rejects.toThrow(
      'empty.jsonl: has no row; wanted a JSON array',
    );
    const bad = await file('bad.json', '[1,\n2]');
    await expect(loadDataset(bad, { skipBadRows: true })).rejects.toThrow(
      'bad.json: none of its 2 rows can be used; the first, line 1: wanted an object',
    );
  });

  it('refuses what is neither a file nor a name, and offers the nearest name', async () => {
    await expect(loadDataset('mth10k')).rejects.toThrow(
      "no dataset 'mth10k': no such file, no such name, and no id on the hub (OWNER/NAME); did you mean 'math10k'?",
    );
    await expect(loadDataset('math10k+')).rejects.toThrow("wanted names or paths joined by '+', found an empty one");
  });
});

describe('loadDataset() of a name', () => {
  const remote = '/ft-training_set/math_10k.json';
  let server: FileServer;
  beforeEach(async () => {
    server = await serveFiles({ [remote]: (_, response) => response.end(JSON.stringify([row(1), row(2)])) });
  });
  afterEach(() => server.close());

  it.each(['math10k', 'math_10k', 'datasets/math_10k.json'])(
    'downloads %s once, into the datasets directory',
    async (name) => {
      const options = { datasetsDir: join(directory, 'datasets'), baseUrl: `${server.url}/` };
      const received: number[] = [];
      const first = await loadDataset(name, { ...options, onProgress: (p) => received.push(p.received) });
      const second = await loadDataset(name, options);
      expect(server.asked).toEqual([remote]);
      expect(first).toEqual(second);
      expect(first.files).toEqual([join(directory, 'datasets', 'math_10k.json')]);
      expect(JSON.parse(await readFile(first.files[0]!, 'utf8'))).toEqual([row(1), row(2)]);
      expect(received.at(-1)).toBeGreaterThan(0);
    },
  );

  it('heeds SPFT_DATASETS and SPFT_DATASETS_URL', async () => {
    vi.stubEnv('SPFT_DATASETS', join(directory, 'mine'));
    vi.stubEnv('SPFT_DATASETS_URL', server.url);
    expect((await load('math10k')).files).toEqual([join(directory, 'mine', 'math_10k.json')]);
  });

  it('takes the file that is there without asking anyone', async () => {
    await mkdir(join(directory, 'datasets'));
    await file('datasets/commonsense_170k.json', JSON.stringify([row(7)]));
    const { records } = await load('csr170k', { datasetsDir: join(directory, 'datasets'), baseUrl: server.url });
    expect([records.length, server.asked]).toEqual([1, []]);
  });

  it('says what is missing where it may not or cannot be downloaded', async () => {
    const options = { datasetsDir: directory, baseUrl: server.url };
    await expect(loadDataset('math10k', { ...options, download: false })).rejects.toThrow(
      `math_10k.json: is missing, and may not be downloaded; put ${server.url}${remote} there`,
    );
    await expect(loadDataset('csr170k', options)).rejects.toThrow(
      `${server.url}/ft-training_set/commonsense_170k.json: the server has no such file (404)`,
    );
  });
});
