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

/** What makes the variant of a kernel for such ranks. */
export const RANK_DEFINES = { 32: { RANK: '32' }, 64: { RANK: '64' } } as const;

/** The least of them that will do, or nothing where all are too small. */
export function rankFor(parts: readonly BranchPart[]): (typeof RANKS)[number] | undefined {
  let largest = 0;
  for (const { rank } of parts) largest = Math.max(largest, rank);
  return largest <= 32 ? 32 : largest <= 64 ? 64 : undefined;
}

/** Whether a launch can take the sizes of these parts; rows are accessed 16 bytes at a time. */
export function fitOneLaunch(parts: readonly BranchPart[]): boolean {
  if (parts.length === 0 || parts.length > MOST || rankFor(parts) === undefined) return false;
  for (const { out, rank } of parts) if (out <= 0 || rank <= 0 || ((out | rank) & 7) !== 0) return false;
  return true;
}
