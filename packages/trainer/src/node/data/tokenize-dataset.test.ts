import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadTokenizer } from '@spft/models/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LazySamples } from '../../batch/sample-source.js';
import type { DataRecord } from '../../data/data-record.js';
import { readTokens, tokensKey } from './token-cache.js';
import { type TokenizeDatasetOptions, tokenizeDataset } from './tokenize-dataset.js';

const base = fileURLToPath(new URL('../../../../../examples/quickstart/base', import.meta.url));
const record = (n: number): DataRecord => ({ instruction: `q ${n}`, input: '', output: n % 5 === 0 ? '' : `a ${n}` });
const records = Array.from({ length: 2100 }, (_, n) => record(n));

let cache: string;
beforeAll(async () => {
  cache = await mkdtemp(join(tmpdir(), 'spft-tokens-'));
});
afterAll(() => rm(cache, { recursive: true }));

async function run(rows: readonly DataRecord[], more: Partial<TokenizeDatasetOptions> = {}) {
  const options = { template: { name: 'plain', format: null }, maxLength: 64, cacheDirectory: cache, ...more };
  return tokenizeDataset(await loadTokenizer(base), base, rows, options);
}

describe('tokenizeDataset()', () => {
  it('makes only the samples that are asked for where a run sees fewer than there are', async () => {
    const made = await run(records, { visits: 8 });
    expect([made.from, made.samples, made.source.length]).toEqual(['lazily', null, 2100]);
    const source = made.source as LazySamples;
    expect(source).toBeInstanceOf(LazySamples);
    const all = await run(records.slice(0, 8));
    expect(source.sample(1).inputIds).toEqual(
      all.samples!.find((sample) => (sample as { index?: number }).index === 1)!.inputIds,
    );
    const longest = Math.max(...[0, 1].map((n) => source.sample(n).inputIds.length));
    expect(source.counts).toEqual({ made: 2, truncated: 0, unlabelled: 0, longest });
  });

  it('makes all, keeps them by their content, and finds them again', async () => {
    const first = await run(records);
    expect(first.from).toBe('here');
    const again = await run(records, { visits: 8 });
    expect(again.from).toBe('cache');
    expect(again.source.digest).toBe(first.source.digest);
    const plain = (samples: typeof first.samples) =>
      samples!.map(({ inputIds, labels }) => [[...inputIds], [...labels]]);
    expect(plain(again.samples)).toEqual(plain(first.samples));
    const other = await run(records, { visits: 8, maxLength: 63 });
    expect(other.from).toBe('lazily');
    expect(other.source.digest).not.toBe(first.source.digest);
  });

  it('makes them anew where the file is damaged, and says where none can be written', async () => {
    const [name] = await readdir(cache);
    const path = join(cache, name!);
    await writeFile(path, (await readFile(path)).subarray(0, 1000));
    expect((await run(records)).from).toBe('here');
    const notes: string[] = [];
    await run(records, { cacheDirectory: join(base, 'config.json'), notify: (note) => notes.push(note) });
    expect(notes).toHaveLength(1);
    expect(notes[0]).toContain('tokenised data is not kept for the next run');
  });

  it('has another key for another template, row or tokenizer', async () => {
    const tokenizer = await loadTokenizer(base);
    const template = { name: 'x', prompt: () => 'p' };
    const keys = [
      await tokensKey(base, records, template, { maxLength: 8 }),
      await tokensKey(base, records.slice(1), template, { maxLength: 8 }),
      await tokensKey(base, records, { name: 'x', prompt: () => 'q' }, { maxLength: 8 }),
      await tokensKey(cache, records, template, { maxLength: 8 }),
    ];
    expect(new Set(keys).size).toBe(4);
    expect(await readTokens(cache, keys[0]!)).toBeNull();
    expect(tokenizer.vocabSize).toBeGreaterThan(0);
  });

  it('counts rows without a label and leaves them out; refuses where there is no other', async () => {
    const rows = [
      { messages: [{ role: 'user', content: 'q' }], source: { file: 'f', line: 7 } },
      record(1),
    ] as DataRecord[];
    const made = await run(rows, { template: { name: 'chat', format: null } });
    expect([made.samples!.length, made.unlabelled, made.firstUnlabelled]).toEqual([1, 1, rows[0]]);
    await expect(run(rows.slice(0, 1), { template: { name: 'chat', format: null } })).rejects.toThrow(
      'f:7: no label is left: in all of the 1 rows the prompt fills the maximum of 64 tokens',
    );
  });
});

describe('LazySamples', () => {
  it('gives the next sample with a label for one without, the same each time', () => {
    const source = new LazySamples({
      ...{ length: 4, digest: '' },
      make: (n) => ({ inputIds: [1, n], labels: [-100, n === 2 ? n : -100] }),
      exhausted: () => new Error('none'),
    });
    expect([3, 2, 0, 3].map((n) => source.sample(n).index)).toEqual([2, 2, 2, 2]);
    expect(source.counts).toEqual({ made: 4, truncated: 0, unlabelled: 3, longest: 2 });
    const empty = new LazySamples({
      ...{ length: 2, digest: '' },
      make: () => ({ inputIds: [1, 2], labels: [-100, -100] }),
      exhausted: () => new Error('none'),
    });
    expect(() => empty.sample(0)).toThrow('none');
  });
});
