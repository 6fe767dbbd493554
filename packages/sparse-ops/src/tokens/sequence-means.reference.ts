/** @file Plain loops that say the same as sequence-means.ts. */
import type { PackedLayout } from '../contract/types.js';

/** Mean over each sequence's tokens; x [T, n] row-major in row order. */
export function sequenceMeansReference(
  x: Float32Array,
  { sequenceStarts, rowOfToken }: PackedLayout,
  n: number,
): Float32Array {
  const B = sequenceStarts.length - 1;
  const means = new Float32Array(B * n);
  for (let b = 0; b < B; b++) {
    const [start, end] = [sequenceStarts[b]!, sequenceStarts[b + 1]!];
    for (let c = 0; c < n; c++) {
      let sum = 0;
      for (let token = start; token < end; token++) sum += x[rowOfToken[token]! * n + c]!;
      means[b * n + c] = end > start ? sum / (end - start) : 0;
    }
  }
  return means;
}
