import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { readDataRows } from '../node/data/data-rows.js';
import {
  type ArcPair,
  arcMessages,
  type Grid,
  gridOf,
  gridText,
  parseArcTask,
  parseGrid,
  sameGrid,
  scoreArc,
} from './arc.js';
import { arcRows } from './arc-augment.js';

const grid: Grid = [
  [0, 1, 2],
  [3, 4, 5],
];

describe('parseGrid()', () => {
  it.each([
    [[[1, 2], [3]], 'row 2 of a grid has 1 cells, the first 2: it is ragged'],
    [new Array(31).fill([1]), 'a grid has 31 rows, wanted at most 30'],
    [[new Array(31).fill(1)], 'row 1 of a grid has 31 cells, wanted at most 30'],
    [[[10]], 'wanted colours from 0 to 9, found 10'],
    [[], 'wanted a grid, a list of rows, found []'],
    [[[]], 'row 1 of a grid: wanted a list of colours, found []'],
  ])('refuses %j', (value, problem) => {
    expect(parseGrid(value)).toContain(problem);
  });
});

describe('gridOf()', () => {
  const words = 'Black Blue Red\nGreen Yellow Gray';
  it.each([
    ['a fence', `The output grid for the test input grid is:\n\n\`\`\`\n${words}\n\`\`\``],
    ['the last of two', `\`\`\`\nRed\n\`\`\`\nNo, Red Red is wrong:\n\`\`\`\n${words}\n\`\`\``],
    ['a fence that never closes', `\`\`\`grid\n${words}`],
    ['other spellings', `\`\`\`\n${words.replace('Gray', 'Grey').toLowerCase()}\n\`\`\``],
  ])('finds the grid in %s', (_, answer) => {
    expect(gridOf(answer)).toEqual(grid);
  });

  it.each([
    ['no fence', words, 'there is no fence with a grid in it'],
    ['a word that is no colour', '```\nBlack Teal\n```', "'Teal' is no colour"],
    ['ragged rows', '```\nBlack\nBlack Black\n```', 'it is ragged'],
  ])('says why there is none in %s', (_, answer, problem) => {
    expect(gridOf(answer)).toContain(problem);
  });
});

describe('scoreArc()', () => {
  const other: Grid = [[9]];
  it('counts by input and by task, of which every input must be right', () => {
    const score = scoreArc([
      { task: 'a', testIndex: 0, wanted: grid, got: [grid, other] },
      { task: 'a', testIndex: 1, wanted: grid, got: ['no grid', other] },
      { task: 'b', testIndex: 0, wanted: grid, got: [grid, grid] },
    ]);
    expect(score).toEqual({
      ...{ samples: 2, inputs: 3, tasks: 2, withoutGrid: 1, solvedTasks: ['b'] },
      ...{ byInput: { '1': 0.5, '2': 2 / 3 }, byTask: { '1': 0.5, '2': 0.5 } },
    });
    expect(sameGrid(grid, [[0, 1, 2]])).toBe(false);
  });
});

describe('arcRows()', () => {
  const pair = (n: number): ArcPair => ({
    input: [
      [n, 0],
      [0, n],
    ],
    output: [[n, n]],
  });
  const task = { id: 't', train: [pair(1), pair(2), pair(3)], test: [pair(4)] };

  it('makes each pair the test once, with ten variants that are changed alike, by the seed', () => {
    const rows = arcRows(task, { seed: 3 });
    expect(rows).toHaveLength(3 * 11);
    expect(rows[0]).toEqual({ task: 't', examples: [pair(2), pair(3)], test: pair(1) });
    expect(arcRows(task, { seed: 3 })).toEqual(rows);
    expect(arcRows(task, { seed: 4 })).not.toEqual(rows);
    for (const { examples, test } of rows) {
      for (const { input, output } of [...examples, test]) {
        for (const one of [input, output]) expect(typeof parseGrid(one)).not.toBe('string');
        // The transformation stays: two equal colours on a diagonal become two in a row, whatever was turned.
        const count = (of: Grid) => new Set(of.flat()).size;
        expect([count(input), count(output)]).toEqual([2, 1]);
      }
      const areas = [...examples, test].map(({ input }) => input.length * input[0]!.length);
      expect(new Set(areas).size).toBe(1);
    }
    expect(arcRows({ ...task, train: task.train.slice(0, 2) })).toEqual([]);
  });
});

describe('parseArcTask()', () => {
  it('names the pair that is none', () => {
    expect(parseArcTask('x', { train: [{ input: [[1]], output: [[1], [1, 2]] }], test: [] })).toContain(
      'train pair 1: row 2',
    );
    expect(parseArcTask('x', {})).toContain("wanted a list of pairs in 'train', found undefined");
  });
});

const root = process.env.SPFT_SHARED ?? fileURLToPath(new URL('../../../../../shared', import.meta.url));
const rows = `${root}/datasets/arc_agi/concept_arc_transduction.jsonl`;
describe.skipIf(!existsSync(rows))(`BARC's rows${existsSync(rows) ? '' : ` (skipped: there is no ${rows})`}`, () => {
  it('are what arcMessages() makes of their grids', async () => {
    let count = 0;
    for await (const { value } of readDataRows(rows)) {
      const [system, user] = (value as { messages: { content: string }[] }).messages;
      const read = (text: string) => gridOf(`\`\`\`\n${text}\n\`\`\``) as Grid;
      const examples = [...user!.content.matchAll(/Example \d+\nInput:\n([\s\S]*?)\n\nOutput:\n([\s\S]*?)\n\n\n/g)];
      const input = /test example:\nInput:\n([\s\S]*?)\n\n\nDirectly/.exec(user!.content)![1]!;
      const pairs = examples.map(([, a, b]) => ({ input: read(a!), output: read(b!) }));
      const made = arcMessages(pairs, read(input), null, 'training');
      expect(made.map(({ content }) => content)).toEqual([system!.content, user!.content]);
      expect(gridText(read(input))).toBe(input);
      count++;
    }
    expect(count).toBe(59);
  });
});
