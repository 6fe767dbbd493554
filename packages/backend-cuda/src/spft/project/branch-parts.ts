/** @file What the kernels of low-rank branches have in common: up to three layers in one launch, with ranks up to a few. */

/** A layer's part. */
export interface BranchPart {
  readonly out: number;
  readonly rank: number;
}

/** Most layers that a launch takes. */
const MOST = 3;
/** Ranks that the kernels are compiled for; smaller ones are filled up with zeros. */
export const RANKS = [32, 64] as const;

/** The least of them that will do, or nothing where all are too small. */
export const rankFor = (parts: readonly BranchPart[]): (typeof RANKS)[number] | undefined =>
  RANKS.find((most) => parts.every(({ rank }) => rank <= most));

/** Whether a launch can take these parts: `numbers` count elements of rows that, as `addresses`, are accessed 16 bytes at a time. */
export const fitOneLaunch = (
  parts: readonly BranchPart[],
  numbers: readonly number[],
  addresses: readonly number[],
): boolean =>
  parts.length > 0 &&
  parts.length <= MOST &&
  rankFor(parts) !== undefined &&
  parts.every(({ out, rank }) => out > 0 && rank > 0) &&
  numbers.every((number) => number % 8 === 0) &&
  addresses.every((address) => address % 16 === 0);

/** A kernel's arguments of one kind for three layers: 0 where there is none. */
export const ofEach = <Part>([first, second, third]: readonly Part[], f: (part: Part) => number): number[] => [
  first ? f(first) : 0,
  second ? f(second) : 0,
  third ? f(third) : 0,
];
