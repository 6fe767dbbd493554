import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadTokenizer } from '@spft/models/node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HubServer } from '../../../../models/test/hub-server.js';
import { IGNORED_LABEL } from '../../batch/samples.js';
import { tokenizeRecord } from '../../data/tokenize.js';
import { loadDataset } from './dataset.js';

const base = fileURLToPath(new URL('../../../../../examples/quickstart/base', import.meta.url));
let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'spft-named-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(directory, { recursive: true });
});
const lines = (rows: readonly unknown[]) => Buffer.from(`${rows.map((row) => JSON.stringify(row)).join('\n')}\n`);

describe('loadDataset() of the original’s sets', () => {
  it('codefeedback: the first fenced block of each answer from the hub, rows without one left out', async () => {
    const rows = [
      { query: 'q1', answer: 'So:\n```py\nx\n```\nrest' },
      { query: 'q2', answer: 'no code' },
      { query: 'q3', answer: '```\nopen' },
    ];
    const files = { 'CodeFeedback-Filtered-Instruction.jsonl': lines(rows) };
    const hub = await new HubServer(files, 'm-a-p/CodeFeedback-Filtered-Instruction', () => false, 'datasets').start();
    vi.stubEnv('HF_ENDPOINT', hub.endpoint);
    vi.stubEnv('HF_HOME', directory);
    vi.stubEnv('HF_HUB_CACHE', '');
    const { records } = await loadDataset('codefeedback');
    await hub.stop();
    expect(records).toMatchObject([{ completion: 'So:\n```py\nx\n```' }, { completion: '```\nopen\n```' }]);
    const tokenizer = await loadTokenizer(base);
    const { inputIds, labels } = tokenizeRecord(tokenizer, records[0]!, { maxLength: 512 });
    const text = tokenizer.decode(inputIds);
    expect(text).toContain('### Instruction:\nq1\n\n### Response:\n So:\n```py\nx\n```<|end_of_text|>');
    const learned = tokenizer.decode(labels.filter((label) => label !== IGNORED_LABEL));
    expect(learned.trim()).toBe('So:\n```py\nx\n```<|end_of_text|>');
    const short = tokenizeRecord(tokenizer, records[0]!, { maxLength: inputIds.length - 1 });
    expect(short.labels.every((label) => label === IGNORED_LABEL)).toBe(true);
  });

  it('wizardlm: refusals are left out', async () => {
    const path = join(directory, 'w.json');
    await writeFile(
      path,
      JSON.stringify([
        { instruction: 'a', output: 'Sorry, no' },
        { instruction: 'b', output: 'Yes' },
      ]),
    );
    expect((await loadDataset(`wizardlm=${path}`)).records).toMatchObject([{ completion: 'Yes' }]);
    await writeFile(path, JSON.stringify([{ instruction: 'a', out: 'x' }]));
    await expect(loadDataset(`wizardlm=${path}`)).rejects.toThrow(
      "lacks the column 'output'; it has 'instruction', 'out'",
    );
  });

  it('arc-agi: rows made of task files, the answer learned', async () => {
    await mkdir(join(directory, 'tasks'));
    const pair = { input: [[1, 2]], output: [[2, 1]] };
    await writeFile(join(directory, 'tasks', 'a.json'), JSON.stringify({ train: [pair, pair, pair], test: [pair] }));
    const { records } = await loadDataset(`arc-agi=${join(directory, 'tasks')}`);
    expect(records).toHaveLength(33);
    const messages = (records[0] as { messages: { role: string; content: string }[] }).messages;
    expect(messages.map(({ role }) => role)).toEqual(['system', 'user', 'assistant']);
    expect(messages[2]!.content).toBe('The output grid for the test input grid is:\n\n```\nRed Blue\n```');
    await writeFile(join(directory, 'tasks', 'b.json'), '{"train": []}');
    await expect(loadDataset(`arc-agi=${join(directory, 'tasks')}`)).rejects.toThrow(
      "b.json: wanted a list of pairs in 'train'",
    );
    await expect(loadDataset('arc-agi=/nowhere')).rejects.toThrow('there is no such file or directory');
  });
});
