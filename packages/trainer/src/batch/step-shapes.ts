/**
 * @file The few shapes to which the batches of a run are padded, so that each can be recorded once: as little padding as so few shapes allow.
 *
 * Known before the first step, as the order of samples is: sizes are grouped, always the two whose common shape costs the fewest rows.
 */
import type { BatchRows } from '@spft/models';
import type { PackedLayout } from '@spft/sparse-ops';
import { type LayoutShape, longestSequence, paddingSequences } from '@spft/sparse-ops/internals';

/** What a batch needs room for. */
export interface BatchSize {
  readonly denseRows: number;
  readonly sparseRows: number;
  /** Rows with a loss, dense and sparse. */
  readonly denseLossRows: number;
  readonly sparseLossRows: number;
  readonly sequences: number;
  readonly longest: number;
  /** Of several batches, not all of which fill it. */
  readonly mixed?: boolean;
}

/** A layout's shape, with room for rows that have a loss. */
export interface StepShape extends LayoutShape {
  readonly denseLossRows: number;
  readonly sparseLossRows: number;
}

/** Rows come in multiples of it, tokens of a sequence too; where sizes differ. */
const MULTIPLE = 16;
/** The same for sizes that were not foreseen: few of them differ then. */
const UNFORESEEN = 64;
/** How much more than the largest size of some steps one of the others may take, which then has a shape all the same. */
const MARGIN = 1.25;
/** Share of all rows that one shape less may cost in padding. */
const MOST_PADDING = 0.04;
/** Sizes that are compared with each other. */
const MOST_SIZES = 128;

export function sizeOf(layout: PackedLayout, { lossRows, denseLossRows }: BatchRows): BatchSize {
  return {
    denseRows: layout.denseTokens,
    sparseRows: layout.tokens - layout.denseTokens,
    denseLossRows,
    sparseLossRows: lossRows.length - denseLossRows,
    sequences: layout.sequenceStarts.length - 1,
    longest: longestSequence(layout),
  };
}

/** Room for each of the sizes. */
export function joinSizes(sizes: readonly BatchSize[]): BatchSize {
  const most = (of: (size: BatchSize) => number) => sizes.reduce((high, size) => Math.max(high, of(size)), 0);
  const mixed = sizes.some((size) => size.mixed || nameOf(size) !== nameOf(sizes[0]!));
  return {
    denseRows: most((size) => size.denseRows),
    sparseRows: most((size) => size.sparseRows),
    denseLossRows: most((size) => size.denseLossRows),
    sparseLossRows: most((size) => size.sparseLossRows),
    sequences: most((size) => size.sequences),
    longest: most((size) => size.longest),
    ...(mixed && { mixed }),
  };
}

const rowsOf = (size: BatchSize): number => size.denseRows + size.sparseRows + size.denseLossRows + size.sparseLossRows;

const fits = (size: BatchSize, into: BatchSize): boolean =>
  size.denseRows <= into.denseRows &&
  size.sparseRows <= into.sparseRows &&
  size.denseLossRows <= into.denseLossRows &&
  size.sparseLossRows <= into.sparseLossRows &&
  size.sequences <= into.sequences &&
  size.longest <= into.longest;

function roundedUp(size: BatchSize, multiple: number): BatchSize {
  const up = (n: number) => Math.ceil(n / multiple) * multiple;
  return {
    denseRows: up(size.denseRows),
    sparseRows: up(size.sparseRows),
    denseLossRows: up(size.denseLossRows),
    sparseLossRows: up(size.sparseLossRows),
    sequences: size.sequences,
    longest: up(size.longest),
  };
}

/** Room for somewhat more of everything but sequences. */
function withMargin({ mixed = false, ...size }: BatchSize): BatchSize {
  const wider = Object.entries(size).map(([name, n]) => [name, name === 'sequences' ? n : Math.ceil(MARGIN * n)]);
  return { ...roundedUp(Object.fromEntries(wider) as unknown as BatchSize, UNFORESEEN), ...(mixed && { mixed }) };
}

const nameOf = (size: BatchSize): string => Object.values(size).join(' ');

/** Different sizes and how often each occurs. */
function counted(sizes: readonly BatchSize[]): { size: BatchSize; count: number }[] {
  const known = new Map<string, { size: BatchSize; count: number }>();
  for (const size of sizes) {
    const name = nameOf(size);
    const entry = known.get(name);
    if (entry) entry.count++;
    else known.set(name, { size, count: 1 });
  }
  return [...known.values()];
}

interface Group {
  readonly size: BatchSize;
  readonly count: number;
}

/** `rowsOf` what both have room in, without making it: it is asked for all pairs. */
const rowsOfBoth = (a: BatchSize, b: BatchSize): number =>
  Math.max(a.denseRows, b.denseRows) +
  Math.max(a.sparseRows, b.sparseRows) +
  Math.max(a.denseLossRows, b.denseLossRows) +
  Math.max(a.sparseLossRows, b.sparseLossRows);

interface Joining {
  /** Rows of padding that it adds, of all steps. */
  readonly cost: number;
  readonly groups: Group[];
}

/** The two whose common size costs the fewest rows become one. @param groups two or more. */
function joinCheapest(groups: readonly Group[]): Joining {
  let best = { cost: Number.POSITIVE_INFINITY, a: 0, b: 1 };
  for (let a = 0; a < groups.length; a++) {
    for (let b = a + 1; b < groups.length; b++) {
      const [first, second] = [groups[a]!, groups[b]!];
      const rows = rowsOfBoth(first.size, second.size);
      const cost = first.count * (rows - rowsOf(first.size)) + second.count * (rows - rowsOf(second.size));
      if (cost < best.cost) best = { cost, a, b };
    }
  }
  const [first, second] = [groups[best.a]!, groups[best.b]!];
  const joined = { size: joinSizes([first.size, second.size]), count: first.count + second.count };
  return { cost: best.cost, groups: [...groups.filter((_, n) => n !== best.a && n !== best.b), joined] };
}

const totalOf = (groups: readonly Group[]): number =>
  groups.reduce((sum, { size, count }) => sum + count * rowsOf(size), 0);

/** At most `most` groups, and fewer where one less costs fewer rows than `limit`. */
function grouped(sizes: readonly BatchSize[], most: number, limit: number): Group[] {
  let groups: Group[] = [];
  let multiple = MULTIPLE;
  do {
    groups = counted(sizes.map((size) => roundedUp(size, multiple)));
    multiple *= 2;
  } while (groups.length > Math.max(most, MOST_SIZES));
  while (groups.length > 1) {
    const { cost, groups: joined } = joinCheapest(groups);
    if (groups.length <= most && cost >= limit) break;
    groups = joined;
  }
  return groups;
}

/** The shapes of a run. */
export class StepShapes {
  readonly #sizes: BatchSize[];
  /** Whether every batch has one of the sizes, so that nothing is padded. */
  readonly #exact: boolean;

  /**
   * @param sizes of the batches to come. @param most shapes. @param isAll whether there will be no others.
   * @param worth rows of padding that are added to have one shape less, as each has to be recorded; but never much of all rows, as it is a guess.
   */
  constructor(sizes: readonly BatchSize[], most: number, isAll = true, worth = 0) {
    const all: Group[] = counted(sizes);
    const limit = Math.min(worth, MOST_PADDING * totalOf(all));
    const pays = (groups: readonly Group[]) => groups.length > 1 && joinCheapest(groups).cost < limit;
    this.#exact = all.length <= most && !pays(all);
    // The longest batches of a run come when they come: one shape is for them, which is recorded if it is wanted.
    const beyond = this.#exact || isAll ? [] : [withMargin(joinSizes(sizes))];
    this.#sizes = [
      ...(this.#exact ? all : grouped(sizes, most - beyond.length, limit)).map(({ size }) => size),
      ...beyond,
    ];
  }

  get all(): readonly StepShape[] {
    return this.#sizes.map((size) => (this.#exact && !size.mixed ? size : padded(size)));
  }

  /**
   * The shape with the fewest rows that has room; one of its own for a size that was not foreseen. What was asked for before decides nothing, so that a
   * resumed run has the shapes, and with them the order of its sums, that it would have had.
   */
  of(size: BatchSize): StepShape {
    if (this.#exact && !size.mixed && this.#sizes.some((known) => nameOf(known) === nameOf(size))) return size;
    let best: BatchSize | null = null;
    for (const known of this.#sizes) {
      if (fits(size, known) && (best === null || rowsOf(known) < rowsOf(best))) best = known;
    }
    return padded(best ?? roundedUp(size, UNFORESEEN));
  }
}

/** With sequences for all the padding that there can be. */
function padded({ mixed: _, ...size }: BatchSize): StepShape {
  const { denseRows, sparseRows, longest } = size;
  return { ...size, sequences: size.sequences + paddingSequences(denseRows + sparseRows, longest) };
}
