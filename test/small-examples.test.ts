/**
 * @file The small data of examples/codefeedback, wizardlm, arc-agi and glue is what their READMEs say: every row is read in its benchmark's own form, and
 * what comes of a run on it has the form that the benchmark's tools read. The commands themselves are run by readme-blocks.test.ts.
 */
import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseProblem } from '@spft/trainer/benchmarks';
import { loadDataset } from '@spft/trainer/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BASE, works } from '../packages/cli/test/run-cli.js';

const run = promisify(execFile);
const example = (...path: string[]) => join(process.cwd(), 'examples', ...path);
const lines = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));

let scratch: string;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'spft-examples-'));
});
afterAll(() => rm(scratch, { recursive: true }));

describe('small data of the examples', () => {
  it.each([
    ['codefeedback', ['train.jsonl', 'problems.jsonl']],
    ['wizardlm', ['train.jsonl', 'question.jsonl', 'judgment.jsonl']],
    ['arc-agi', ['tasks/mirror.json', 'tasks/recolour.json', 'tasks/fill.json']],
  ])('%s: is what its script makes', async (name, files) => {
    const copy = join(scratch, name);
    await cp(example(name, 'small', 'make-data.mjs'), join(copy, 'make-data.mjs'));
    await run(process.execPath, [join(copy, 'make-data.mjs')]);
    for (const file of files)
      expect(await readFile(join(copy, file), 'utf8'), file).toBe(await readFile(example(name, 'small', file), 'utf8'));
  });

  it.each([
    ['codefeedback', 'train.jsonl', 24],
    ['wizardlm', 'train.jsonl', 24],
    ['arc-agi', 'tasks', 99],
  ])('%s: every row is one of its data set', async (name, file, rows) => {
    const { records, badRows } = await loadDataset(`${name}=${example(name, 'small', file)}`);
    expect(badRows).toEqual([]);
    expect(records).toHaveLength(rows);
  });

  it('codefeedback: completions are whole programs of its problems', async () => {
    const problems = lines(await readFile(example('codefeedback', 'small', 'problems.jsonl'), 'utf8'));
    expect(problems.map(parseProblem).filter((problem) => typeof problem === 'string')).toEqual([]);
    const out = join(scratch, 'completions.jsonl');
    const file = example('codefeedback', 'small', 'problems.jsonl');
    await works(['humaneval', '--model', BASE, '--problems', file, '--max_new_tokens', '2', '--out', out]);
    const written = lines(await readFile(out, 'utf8'));
    expect(written.map(({ task_id }) => task_id)).toEqual(['Small/0', 'Small/1', 'Small/2']);
    problems.forEach(({ entry_point }, n) => {
      expect(written[n].solution).toContain(`def ${entry_point}(`);
    });
  });

  it('wizardlm: a run leaves a merged model, and the table of the ratings is the README’s', async () => {
    const small = (file: string) => example('wizardlm', 'small', file);
    const directory = join(scratch, 'chat');
    const train = ['train', '--model', BASE, '--dataset', `wizardlm=${small('train.jsonl')}`, '--max_steps', '1'];
    await works([...train, '--per_device_train_batch_size', '2', '--lora_r', '2', '--output_dir', directory]);
    const config = JSON.parse(await readFile(join(directory, 'merged', 'config.json'), 'utf8'));
    expect(config.model_type).toBe('llama');
    await expect(readFile(join(directory, 'merged', 'adapter_config.json'))).rejects.toThrow('ENOENT');
    const files = ['--judgment', small('judgment.jsonl'), '--question', small('question.jsonl')];
    const { stdout } = await works(['mt-bench', ...files]);
    expect(await readFile(example('wizardlm', 'README.md'), 'utf8')).toContain(stdout.trim());
  });

  it('arc-agi: every test input is asked for', async () => {
    const out = join(scratch, 'arc');
    const tasks = example('arc-agi', 'small', 'tasks');
    await works(['arc', '--model', BASE, '--tasks', tasks, '--samples', '1', '--max_new_tokens', '1', '--out', out]);
    const predictions = lines(await readFile(join(out, 'predictions.jsonl'), 'utf8'));
    expect(predictions).toHaveLength(3);
  });
});
