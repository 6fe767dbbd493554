/** @file Plain loops that say the same as query-channels.ts. */
import type { HeadLayout } from '../contract/types.js';

/** Mean of the group's q scores times the k score, for each kv channel. */
export function combineQueryKeyScoresReference(
  scoreQ: ArrayLike<number>,
  scoreK: ArrayLike<number>,
  { heads, kvHeads, headDim }: HeadLayout,
): number[] {
  const group = heads / kvHeads;
  return Array.from(scoreK, (k, c) => {
    const [h, i] = [Math.floor(c / headDim), c % headDim];
    let sum = 0;
    for (let g = 0; g < group; g++) sum += scoreQ[(h * group + g) * headDim + i]!;
    return (sum / group) * k;
  });
}

/** Every query channel whose kv channel is kept, in order. */
export function queryChannelsReference(indices: readonly number[], { heads, kvHeads, headDim }: HeadLayout): number[] {
  const kept = new Set(indices);
  const group = heads / kvHeads;
  const channels = Array.from({ length: heads * headDim }, (_, q) => q);
  return channels.filter((q) => kept.has(Math.floor(q / headDim / group) * headDim + (q % headDim)));
}
