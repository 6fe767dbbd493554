/**
 * @file Training rows made from ARC's own tasks, by BARC's augmentation: each training pair once as the test, the others as its examples, and variants
 * of it, turned, flipped, scaled and recoloured alike in all pairs.
 */
import { assertKnownOptions } from '@spft/safetensors/internals';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import { seedFrom } from '../loop/random.js';
import { ARC_COLOURS, ARC_SIDE, type ArcPair, type ArcTask, type Grid } from './arc.js';

export interface ArcRow {
  readonly task: string;
  readonly examples: readonly ArcPair[];
  readonly test: ArcPair;
}

/** Examples of a prompt, at most. */
const MOST_EXAMPLES = 3;

export interface AugmentOptions {
  /** Variants of each pair, besides the pair itself. Default 10, BARC's. */
  readonly variants?: number;
  readonly seed?: number;
}

/** Rows of a task; none of one with two training pairs or fewer, as there. The same seed gives the same. */
export function arcRows(task: ArcTask, options: AugmentOptions = {}): ArcRow[] {
  assertKnownOptions('arcRows', options, { variants: true, seed: true });
  const { variants = 10, seed = 0 } = options;
  if (task.train.length <= 2) return [];
  const rows: ArcRow[] = [];
  for (const [n, test] of task.train.entries()) {
    const others = task.train.filter((_, m) => m !== n);
    rows.push({ task: task.id, examples: others.slice(0, MOST_EXAMPLES), test });
    for (let variant = 0; variant < variants; variant++) {
      const draw = drawsOf(seedFrom(seed, hash(task.id), n, variant));
      const chosen = shuffled(others, draw).slice(0, MOST_EXAMPLES);
      const change = changeOf([test, ...chosen], draw);
      rows.push({ task: task.id, examples: chosen.map(change), test: change(test) });
    }
  }
  return rows;
}

type Draw = (count: number) => number;

function drawsOf(seed: number): Draw {
  const generator = xoroshiro128plus(seed);
  return (count) => uniformInt(generator, 0, count - 1);
}

function shuffled<T>(items: readonly T[], draw: Draw): T[] {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = draw(i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Flips, rotations and scaling each with probability ½; colours permuted without black ½, all ten 1/10, not at all 4/10. */
function changeOf(pairs: readonly ArcPair[], draw: Draw): (pair: ArcPair) => ArcPair {
  const steps: ((grid: Grid) => Grid)[] = [];
  if (draw(2) === 1) steps.push((grid) => grid.map((row) => [...row].reverse()));
  if (draw(2) === 1) steps.push((grid) => [...grid].reverse());
  for (const turns of [1, 2, 3]) {
    if (draw(2) === 0) continue;
    for (let turn = 0; turn < turns; turn++) steps.push(rotated);
  }
  const longest = Math.max(
    ...pairs.flatMap(({ input, output }) => [input, output].flatMap((g) => [g.length, g[0]!.length])),
  );
  const most = Math.floor(ARC_SIDE / longest);
  if (most > 1 && draw(2) === 1) {
    const factor = 2 + draw(most - 1);
    steps.push((grid) => scaled(grid, factor));
  }
  const kind = draw(10);
  const colours = ARC_COLOURS.map((_, n) => n);
  const map = kind < 5 ? [0, ...shuffled(colours.slice(1), draw)] : kind === 5 ? shuffled(colours, draw) : colours;
  steps.push((grid) => grid.map((row) => row.map((cell) => map[cell]!)));
  const apply = (grid: Grid) => steps.reduce((changed, step) => step(changed), grid);
  return ({ input, output }) => ({ input: apply(input), output: apply(output) });
}

/** By a quarter, clockwise. */
const rotated = (grid: Grid): Grid => grid[0]!.map((_, x) => grid.map((_, y) => grid[grid.length - 1 - y]![x]!));

const scaled = (grid: Grid, factor: number): Grid =>
  grid.flatMap((row) => {
    const wide = row.flatMap((cell) => new Array<number>(factor).fill(cell));
    return Array.from({ length: factor }, () => wide);
  });

function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const character of text) value = Math.imul(value ^ character.codePointAt(0)!, 0x01000193);
  return value >>> 0;
}
