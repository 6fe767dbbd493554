/** @file Plain loops that say the same as gated-selection.ts, by those of its parts. */
import type { PackedLayout } from '../contract/types.js';
import { sequenceMeansReference } from '../tokens/sequence-means.reference.js';
import { gatedScoresReference, type LowRankReference } from './gated-scores.reference.js';
import { topKReference } from './top-k-selection.reference.js';

/** Channels, ascending. x [T, in] row-major in row order; predictors of n channels. */
export function gatedSelectionReference(
  x: Float32Array,
  layout: PackedLayout,
  gate: LowRankReference,
  up: LowRankReference,
  { In, n, kept }: { readonly In: number; readonly n: number; readonly kept: number },
): number[] {
  const means = sequenceMeansReference(x, layout, In);
  return topKReference(gatedScoresReference(means, gate, up, { B: layout.sequenceStarts.length - 1, In, n }), kept);
}
