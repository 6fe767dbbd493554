/** @file Plain loops that say the same as top-k-selection.ts. */

/** Indices of the highest scores, ascending; of equal scores the lower index. */
export function topKReference(scores: ArrayLike<number>, kept: number): number[] {
  const order = Array.from({ length: scores.length }, (_, i) => i);
  order.sort((a, b) => scores[b]! - scores[a]! || a - b);
  return order.slice(0, kept).sort((a, b) => a - b);
}
