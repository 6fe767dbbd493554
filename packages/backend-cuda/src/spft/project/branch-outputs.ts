/** @file y = c + s·h·Bᵀ of the low-rank branches of up to three layers, in one launch. Where that cannot be done it is a product a layer (branches.ts). */
import type { CudaBackend } from '../../backend.js';
import { declareVariants } from '../../shared/variants.js';
import { type BranchPart, fitOneLaunch, ofEach, RANKS, rankFor } from './branch-parts.js';

/** A layer's part, by device addresses in bf16. */
export interface OutputPart extends BranchPart {
  /** [T, out]: the result. */
  readonly y: number;
  /** [T, out] or 0: what it is added to from row `from` on. May be y. */
  readonly c: number;
  readonly from: number;
  /** From row `from` on only these columns of c count, which are int32 [count], ascending; null for all. */
  readonly kept: { readonly address: number; readonly count: number; readonly from: number } | null;
  /** [out, rank]. */
  readonly b: number;
  /** Where its columns of h begin. */
  readonly at: number;
  readonly scaling: number;
}

/** As in the kernel. */
const COLUMNS = 128;
const ROWS = 64;
/** Blocks for each multiprocessor, by rank: about so many as it has room for, and then some to fill the gaps. */
const AT_ONCE = { 32: 6, 64: 4 } as const;

/** Whether one launch can make these parts. @param all columns of h. */
export function outputsFit(parts: readonly OutputPart[], h: number, all: number): boolean {
  const numbers = [all, ...parts.flatMap(({ out, rank, at }) => [out, rank, at])];
  return fitOneLaunch(parts, numbers, [h, ...parts.flatMap(({ y, c, b }) => [y, c, b])]);
}

/** Writes every y. @param h [T, all] by address, in bf16. @param T at least 1. */
export function outputsInOneLaunch(
  backend: CudaBackend,
  T: number,
  parts: readonly OutputPart[],
  h: number,
  all: number,
) {
  const R = rankFor(parts)!;
  const kernel = backend.kernel('branch-outputs', 'branch_outputs', `${'p'.repeat(13)}${'i'.repeat(21)}fff`, {
    RANK: String(R),
  });
  const operands = [
    ...ofEach(parts, ({ y }) => y),
    ...ofEach(parts, ({ c }) => c),
    ...ofEach(parts, ({ b }) => b),
    h,
    ...ofEach(parts, ({ kept }) => kept?.address ?? 0),
  ];
  const shape = [({ out }: OutputPart) => out, ({ rank }: OutputPart) => rank, ({ at }: OutputPart) => at].flatMap(
    (f) => ofEach(parts, f),
  );
  const blocks = parts.reduce((sum, { out }) => sum + Math.ceil(out / COLUMNS), 0);
  // Each goes down a stretch of rows.
  const stretches = Math.max(1, Math.floor((AT_ONCE[R] * backend.device.info.multiprocessors) / blocks));
  const count = ROWS * Math.ceil(T / stretches / ROWS);
  const numbers = [
    T,
    count,
    all,
    ...shape,
    ...ofEach(parts, ({ from }) => from),
    ...ofEach(parts, ({ kept }) => kept?.count ?? 0),
    ...ofEach(parts, ({ kept }) => kept?.from ?? T),
    ...ofEach(parts, ({ scaling }) => scaling),
  ];
  const shared = 2 * (2 * ROWS * (COLUMNS + 8) + (2 * ROWS + COLUMNS) * (R + 8));
  backend.launch(kernel, [blocks, Math.ceil(T / count)], [256], [...operands, ...numbers], shared);
}

declareVariants(
  'branch-outputs',
  RANKS.map((RANK) => ({ RANK: String(RANK) })),
);
