/** The benchmarks' own files, where they are at hand: `../shared/datasets` beside the repository, or SPFT_SHARED. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type InstructionRecord, responseOf } from '../../data/record.js';
import { taskKind } from '../../evaluation/tasks.js';
import { loadTasks } from '../evaluation/load-tasks.js';
import { type LoadedDataset, loadDataset } from './dataset.js';
import { readRows } from './read-rows.js';

/** Of files that hold instructions alone. */
const load = async (...given: Parameters<typeof loadDataset>) =>
  (await loadDataset(...given)) as Omit<LoadedDataset, 'records'> & { readonly records: InstructionRecord[] };

const root = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../../../shared', import.meta.url));
const datasets = `${root}/datasets`;
const absent = !existsSync(datasets);

describe.skipIf(absent)(`the benchmarks' files${absent ? ` (skipped: there is no ${datasets})` : ''}`, () => {
  it.each([
    ['math_data.json', 3260],
    ['gsm8k/grade_school_math_train.jsonl', 7473],
    ['mawps/trainset.json', 1898],
    ['ARC-Easy/train.json', 2251],
    ['boolq/train.json', 9427],
    ['openbookqa/train.json', 4957],
  ])('%s has %d records to train on', async (name, count) => {
    const { records, badRows } = await load(`${datasets}/${name}`);
    expect([records.length, badRows.length]).toEqual([count, 0]);
    expect(records.filter((r) => r.instruction.trim() === '' || r.answer === undefined)).toEqual([]);
    // Three rows of math_data.json have an answer and no output.
    expect(records.filter((r) => r.output === '').length).toBe(name === 'math_data.json' ? 3 : 0);
  });

  it.each([
    ['gsm8k', 1319],
    ['mawps', 238],
    ['boolq', 3270],
    ['piqa', 1838],
    ['arc-easy', 2376],
    ['openbookqa', 500],
  ])('%s has %d questions', async (name, count) => {
    const [task] = await loadTasks(name, { datasetsDir: datasets, download: false });
    expect([task?.name, task?.examples.length]).toEqual([name, count]);
  });

  it('HumanEval.jsonl.gz has 164 rows, which are no instructions', async () => {
    let count = 0;
    for await (const { value } of readRows(`${datasets}/HumanEval.jsonl.gz`)) {
      expect(value).toHaveProperty('canonical_solution');
      count++;
    }
    expect(count).toBe(164);
    await expect(loadDataset(`${datasets}/HumanEval.jsonl.gz`)).rejects.toThrow(
      "HumanEval.jsonl.gz:1: lacks 'instruction'",
    );
  });

  // What is counted as right of a model that has learned its lessons by heart; the numbers are those of upstream's Python on the same files.
  // The outputs of math_data.json and gsm8k/test.json were written by a model, and many of them come to a wrong result.
  it.each([
    ['gsm8k', 'gsm8k/grade_school_math_train.jsonl', 7473, 7473],
    ['mawps', 'mawps/trainset.json', 1898, 1898],
    ['gsm8k', 'math_data.json', 3057, 2399],
    ['gsm8k', 'gsm8k/test.json', 1319, 771],
    ['boolq', 'boolq/train.json', 9427, 9427],
    ['piqa', 'piqa/test.json', 1838, 1838],
    ['arc-easy', 'ARC-Easy/train.json', 2251, 2251],
    ['openbookqa', 'openbookqa/train.json', 4957, 4957],
  ])('%s finds the answers in the outputs of %s', async (kind, name, count, right) => {
    const { answers } = taskKind(kind);
    const { records } = await load(`${datasets}/${name}`);
    const comparable = records.filter((r) => answers.accepts(r.answer!));
    const found = (outputOf: (r: (typeof records)[number]) => string) =>
      comparable.filter((r) => {
        const predicted = answers.extract(outputOf(r));
        return predicted !== null && answers.matches(predicted, r.answer!);
      }).length;
    expect([comparable.length, found((r) => r.output)]).toEqual([count, right]);
    expect(found((r) => responseOf(r))).toBe(right);
  });

  it.each([
    ['math_data.json', 2687],
    ['gsm8k/test.json', 1098],
  ])('the result that an output of %s states is the one found in it', async (name, count) => {
    const { records } = await load(`${datasets}/${name}`);
    const stated = records.flatMap(({ output }) => {
      const result = /The answer is \$?(-?[\d,]*\.?\d+)\.?$/.exec(output)?.[1];
      return result === undefined ? [] : [{ output, result: Number(result.replaceAll(',', '')) }];
    });
    const missed = stated.filter(({ output, result }) => taskKind('gsm8k').answers.extract(output) !== result);
    expect(stated.length).toBe(count);
    expect(missed).toEqual([]);
  });
});
