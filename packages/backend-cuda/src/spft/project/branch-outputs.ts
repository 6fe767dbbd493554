/** @file y = c + s·h·Bᵀ of the low-rank branches of up to three layers, in one launch. Where that cannot be done it is a product a layer (branches.ts). */
import type { CudaBackend } from '../../backend.js';
import { declareVariants } from '../../shared/variants.js';
import { type BranchPart, fitOneLaunch, RANK_DEFINES, RANKS, rankFor } from './branch-parts.js';

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
  /** Whether what it gives is turned, where `Turning` says by what. */
  readonly turns?: boolean;
}

/** Rotary position embedding. */
export interface Turning {
  /** Tables [T, headDim / 2] in float, by address. */
  readonly cos: number;
  readonly sin: number;
  readonly headDim: number;
}

/** Whether the launch that makes outputs can turn them: a block has whole heads, and halves of them in units of 16 bytes. */
export const turnsInOneLaunch = ({ cos, sin, headDim }: Turning): boolean =>
  COLUMNS % headDim === 0 && headDim % 16 === 0 && ((cos | sin) & 15) === 0;

/** As in the kernel. */
const COLUMNS = 128;
const ROWS = 64;
/** What makes the variant that turns. */
const TURNS = { 32: { ...RANK_DEFINES[32], TURNS: '1' }, 64: { ...RANK_DEFINES[64], TURNS: '1' } } as const;
/** Blocks for each multiprocessor, by rank: about so many as it has room for, and then some to fill the gaps. */
const AT_ONCE = { 32: 6, 64: 4 } as const;

const PARAMETERS = `${'p'.repeat(13)}${'i'.repeat(21)}fffppii`;

/** Whether one launch can make these parts. @param all columns of h. */
export function outputsFit(parts: readonly OutputPart[], h: number, all: number): boolean {
  if (!fitOneLaunch(parts) || (all & 7) !== 0 || (h & 15) !== 0) return false;
  for (const { at, y, c, b } of parts) if ((at & 7) !== 0 || ((y & 15) | (c & 15) | (b & 15)) !== 0) return false;
  return true;
}

/** Writes every y. @param h [T, all] by address, in bf16. @param T at least 1. @param turning of those parts that turn. */
export function outputsInOneLaunch(
  backend: CudaBackend,
  T: number,
  parts: readonly OutputPart[],
  h: number,
  all: number,
  turning: Turning | null = null,
) {
  const R = rankFor(parts)!;
  const kernel = backend.kernel('branch-outputs', 'branch_outputs', PARAMETERS, (turning ? TURNS : RANK_DEFINES)[R]);
  let blocks = 0;
  for (const { out } of parts) blocks += Math.ceil(out / COLUMNS);
  // Each goes down a stretch of rows.
  const stretches = Math.max(1, Math.floor((AT_ONCE[R] * backend.device.info.multiprocessors) / blocks));
  const count = ROWS * Math.ceil(T / stretches / ROWS);
  // In threes, one for each layer: y, c, b; h; kept; T, count, all; out, rank, at, from, kept's count and begin, scaling. Tables, half a head, who turns.
  const args = new Array<number>(41).fill(0);
  args[9] = h;
  args[13] = T;
  args[14] = count;
  args[15] = all;
  args[31] = args[32] = args[33] = T;
  for (let n = 0; n < parts.length; n++) {
    const { y, c, b, kept, out, rank, at, from, scaling, turns = false } = parts[n]!;
    args[n] = y;
    args[3 + n] = c;
    args[6 + n] = b;
    args[16 + n] = out;
    args[19 + n] = rank;
    args[22 + n] = at;
    args[25 + n] = from;
    args[34 + n] = scaling;
    if (turning && turns) args[40]! += 2 ** n;
    if (kept === null) continue;
    args[10 + n] = kept.address;
    args[28 + n] = kept.count;
    args[31 + n] = kept.from;
  }
  if (turning) {
    args[37] = turning.cos;
    args[38] = turning.sin;
    args[39] = turning.headDim / 2;
  }
  const shared = 2 * (2 * ROWS * (COLUMNS + 8) + (2 * ROWS + COLUMNS) * (R + 8));
  backend.launch(kernel, [blocks, Math.ceil(T / count)], [256], args, shared);
}

declareVariants(
  'branch-outputs',
  RANKS.flatMap((rank) => [RANK_DEFINES[rank], TURNS[rank]]),
);
