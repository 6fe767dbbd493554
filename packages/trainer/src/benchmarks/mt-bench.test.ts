import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readDataRows } from '../node/data/data-rows.js';
import {
  type MtBenchJudgment,
  type MtBenchQuestion,
  mtBenchTable,
  parseJudgment,
  parseQuestion,
  ratingOf,
} from './mt-bench.js';

const questions: MtBenchQuestion[] = [
  { id: 81, category: 'writing', turns: ['a', 'b'] },
  { id: 82, category: 'math', turns: ['a', 'b'] },
];
const judged = (question: number, turn: number, score: number, model = 'm'): MtBenchJudgment => ({
  question,
  model,
  turn,
  score,
});

describe('mtBenchTable()', () => {
  const judgments = [judged(81, 1, 2), judged(81, 1, 8), judged(81, 2, -1), judged(82, 1, 5)];

  it('takes the last judgment of each turn, leaves out what has no rating, and names what is missing', () => {
    expect(mtBenchTable(questions, judgments)).toEqual([
      {
        ...{ model: 'm', average: 6.5, categories: { math: 5, writing: 8 }, turns: { '1': 6.5, '2': null } },
        ...{ withoutRating: 1, replaced: 1, missing: [[82, 2]] },
      },
    ]);
  });

  it('averages every line where it is told to, with −1 as published', () => {
    expect(mtBenchTable(questions, judgments, 'all')[0]!.average).toBeCloseTo(5, 12);
    expect(mtBenchTable(questions, judgments, 'published')[0]!.average).toBeCloseTo(3.5, 12);
  });

  it('refuses a judgment of another question file, and none', () => {
    expect(() => mtBenchTable(questions, [judged(99, 1, 5)])).toThrow('question 99, which is not in the question file');
    expect(() => mtBenchTable(questions, [])).toThrow('there is no judgment');
  });
});

describe('parseJudgment()', () => {
  it.each([
    ['Good. Rating: [[7.5]]', 7.5],
    ['Rating: [6]', 6],
    ['I cannot rate this.', -1],
  ])('reads the rating of %j', (judgment, score) => {
    expect(ratingOf(judgment)).toBe(score);
    expect(parseJudgment({ question_id: 81, model: 'm', turn: 2, judgment })).toEqual(judged(81, 2, score));
  });

  it.each([
    [{ model: 'm', turn: 1, score: 1 }, "wanted a number in 'question_id'"],
    [{ question_id: 81, model: 'm', turn: 3, score: 1 }, "wanted 1 or 2 in 'turn', found 3"],
    [{ question_id: 81, model: 'm', turn: 1 }, "wanted a number in 'score' or a text in 'judgment'"],
  ])('refuses %j', (row, problem) => {
    expect(parseJudgment(row)).toContain(problem);
  });
});

const root = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../../shared', import.meta.url));
const folder = `${root}/datasets/mt_bench`;
describe.skipIf(!existsSync(folder))(
  `a judgment file of FastChat's${existsSync(folder) ? '' : ` (skipped: there is no ${folder})`}`,
  () => {
    it.each([
      ['last', 6.3281],
      ['all', 5.8589],
      ['published', 5.8375],
    ] as const)('gives by the rule %s for mistral-orpo %f', async (rule, average) => {
      const read = async <T>(file: string, parse: (row: unknown) => T | string) => {
        const all: T[] = [];
        for await (const { value } of readDataRows(`${folder}/${file}`)) all.push(parse(value) as T);
        return all;
      };
      const table = mtBenchTable(
        await read('question.jsonl', parseQuestion),
        await read('model_judgment/gpt-4_single.jsonl', parseJudgment),
        rule,
      );
      expect(table.map(({ model }) => model)).toEqual(['mistral-orpo-mix', 'mistral-orpo', 'mistral-orpo-capybara']);
      expect(table[1]!.average).toBeCloseTo(average, 4);
      expect([table[0]!.average, table[2]!.average].map((value) => value!.toFixed(4))).toEqual(['6.0031', '6.8187']);
    });
  },
);
