/**
 * @file ARC-AGI by transduction: tasks, grids as words of colour, BARC's prompt, the grid in an answer's fence, pass@k by input and by task.
 */
import type { ChatMessage } from '@spft/models';
import { shown } from '../data/record.js';
import { passAtK } from './human-eval.js';

export type Grid = readonly (readonly number[])[];

export interface ArcPair {
  readonly input: Grid;
  readonly output: Grid;
}

export interface ArcTask {
  readonly id: string;
  readonly train: readonly ArcPair[];
  readonly test: readonly ArcPair[];
}

/** By number. */
export const ARC_COLOURS = [
  'Black',
  'Blue',
  'Red',
  'Green',
  'Yellow',
  'Gray',
  'Pink',
  'Orange',
  'Purple',
  'Brown',
] as const;
/** Rows and columns of a grid, at most. */
export const ARC_SIDE = 30;

/** @returns the problem as text where a value is no grid. */
export function parseGrid(value: unknown): Grid | string {
  if (!Array.isArray(value) || value.length === 0) return `wanted a grid, a list of rows, found ${shown(value)}`;
  if (value.length > ARC_SIDE) return `a grid has ${value.length} rows, wanted at most ${ARC_SIDE}`;
  for (const [n, row] of value.entries()) {
    if (!Array.isArray(row) || row.length === 0)
      return `row ${n + 1} of a grid: wanted a list of colours, found ${shown(row)}`;
    if (row.length > ARC_SIDE) return `row ${n + 1} of a grid has ${row.length} cells, wanted at most ${ARC_SIDE}`;
    if (row.length !== value[0].length)
      return `row ${n + 1} of a grid has ${row.length} cells, the first ${value[0].length}: it is ragged`;
    const wrong = row.find((cell) => !(Number.isInteger(cell) && cell >= 0 && cell < ARC_COLOURS.length));
    if (wrong !== undefined) return `row ${n + 1} of a grid: wanted colours from 0 to 9, found ${shown(wrong)}`;
  }
  return value as Grid;
}

/** A task file of ARC. @returns the problem as text. */
export function parseArcTask(id: string, json: unknown): ArcTask | string {
  const fields = (typeof json === 'object' && json !== null ? json : {}) as Readonly<Record<string, unknown>>;
  const sets: Record<'train' | 'test', ArcPair[]> = { train: [], test: [] };
  for (const set of ['train', 'test'] as const) {
    const pairs = fields[set];
    if (!Array.isArray(pairs) || pairs.length === 0) return `wanted a list of pairs in '${set}', found ${shown(pairs)}`;
    for (const [n, pair] of pairs.entries()) {
      const [input, output] = [parseGrid(pair?.input), parseGrid(pair?.output)];
      const problem = typeof input === 'string' ? input : typeof output === 'string' ? output : null;
      if (problem !== null) return `${set} pair ${n + 1}: ${problem}`;
      sets[set].push({ input: input as Grid, output: output as Grid });
    }
  }
  return { id, ...sets };
}

/** Cells joined by a space, rows by a line break. */
export const gridText = (grid: Grid): string =>
  grid.map((row) => row.map((cell) => ARC_COLOURS[cell]).join(' ')).join('\n');

const SYSTEM =
  'You are a world-class puzzle solver with exceptional pattern recognition skills. Your task is to analyze puzzles, spot patterns, and provide direct solutions.';
const TASK =
  'Given input-output grid pairs as reference examples, carefully observe the patterns to predict the output grid for new test input. Each pair follows the same transformation rule. Grids are 2D arrays represented as strings, with cells (colors) separated by spaces and rows by newlines.\nHere are the input and output grids for the reference examples:\n';
const REQUEST =
  'Directly provide the output grids corresponding to the given test input grids, based on the patterns observed in the reference examples.';
export const ARC_ANSWER = 'The output grid for the test input grid is:';

/**
 * BARC's messages for a test input, with the assistant's where its output is given.
 * @param form `evaluation`: two line breaks before the request, as BARC's script for evaluation has them; `training`: three, as its rows.
 */
export function arcMessages(
  examples: readonly ArcPair[],
  input: Grid,
  output: Grid | null = null,
  form: 'evaluation' | 'training' = 'evaluation',
): ChatMessage[] {
  const shownPairs = examples.map(
    (pair, n) => `Example ${n + 1}\nInput:\n${gridText(pair.input)}\n\nOutput:\n${gridText(pair.output)}\n\n\n`,
  );
  const gap = form === 'training' ? '\n\n\n' : '\n\n';
  const user = `${TASK}${shownPairs.join('')}Here is the input grid for the test example:\nInput:\n${gridText(input)}${gap}${REQUEST}`;
  return [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: user },
    ...(output === null
      ? []
      : [{ role: 'assistant', content: `${ARC_ANSWER}\n\n\`\`\`\n${gridText(output)}\n\`\`\`` }]),
  ];
}

const NUMBERS: ReadonlyMap<string, number> = new Map([
  ...ARC_COLOURS.map((colour, n): [string, number] => [colour.toLowerCase(), n]),
  ['grey', 5],
]);

/**
 * The grid in an answer's last fence; a fence that never closes ends with the text. (The original takes the last run of colour words, which may
 * be prose.)
 * @returns why there is none, as text.
 */
export function gridOf(answer: string): Grid | string {
  const fences = [...answer.matchAll(/```[^\n]*\n([\s\S]*?)(?:\n[ \t]*```|$)/g)];
  const last = fences.filter((match) => match[1]!.trim() !== '').at(-1);
  if (last === undefined) return 'there is no fence with a grid in it';
  const rows: number[][] = [];
  for (const line of last[1]!.split('\n').filter((text) => text.trim() !== '')) {
    const cells = line
      .trim()
      .split(/\s+/)
      .map((word) => NUMBERS.get(word.toLowerCase()));
    const wrong = cells.indexOf(undefined);
    if (wrong >= 0) return `'${line.trim().split(/\s+/)[wrong]}' is no colour`;
    rows.push(cells as number[]);
  }
  return parseGrid(rows);
}

export const sameGrid = (a: Grid, b: Grid): boolean =>
  a.length === b.length &&
  a.every((row, y) => row.length === b[y]!.length && row.every((cell, x) => cell === b[y]![x]));

/** What a model answered to one test input. */
export interface ArcAnswer {
  readonly task: string;
  readonly testIndex: number;
  readonly wanted: Grid;
  /** The grid of each sample, or why it has none. */
  readonly got: readonly (Grid | string)[];
}

export interface ArcScore {
  readonly samples: number;
  readonly inputs: number;
  readonly tasks: number;
  /** pass@k by k: the mean over test inputs, and over tasks, of which every input must be right. */
  readonly byInput: Readonly<Record<string, number>>;
  readonly byTask: Readonly<Record<string, number>>;
  /** Samples without a grid. */
  readonly withoutGrid: number;
  readonly solvedTasks: readonly string[];
}

/** @param ks at most the number of samples; 2 is what the benchmark allows. */
export function scoreArc(answers: readonly ArcAnswer[], ks: readonly number[] = [1, 2]): ArcScore {
  const rights = answers.map(
    ({ wanted, got }) => got.filter((grid) => typeof grid !== 'string' && sameGrid(grid, wanted)).length,
  );
  const samples = Math.max(0, ...answers.map(({ got }) => got.length));
  const tasks = [...new Set(answers.map(({ task }) => task))];
  const indices = tasks.map((task) => answers.flatMap((answer, n) => (answer.task === task ? [n] : [])));
  const possible = ks.filter((k) => k <= samples);
  const pass = (n: number, k: number) => passAtK(answers[n]!.got.length, rights[n]!, k);
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  const byK = (value: (k: number) => number) => Object.fromEntries(possible.map((k) => [String(k), value(k)]));
  return {
    ...{ samples, inputs: answers.length, tasks: tasks.length },
    byInput: byK((k) => mean(answers.map((_, n) => pass(n, k)))),
    // Inputs of a task are answered independently of each other.
    byTask: byK((k) => mean(indices.map((of) => of.reduce((product, n) => product * pass(n, k), 1)))),
    withoutGrid: answers.reduce((sum, { got }) => sum + got.filter((grid) => typeof grid === 'string').length, 0),
    solvedTasks: tasks.filter((_, t) => indices[t]!.every((n) => rights[n]! > 0)),
  };
}
