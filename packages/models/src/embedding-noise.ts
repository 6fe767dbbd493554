/**
 * @file NEFTune (arXiv 2310.05914): uniform noise on the embeddings in training, drawn on the host from the step's seed, so that a resumed run
 * draws the same.
 */
import type { PackedLayout } from '@spft/sparse-ops';
import { deriveSeed } from './seed.js';

/** Keeps these draws apart from those of dropout and estimators. */
const NOISE = 0x4e45;

/**
 * @param alpha scale: each value lies within ± alpha / √(length of its sequence · hidden size). (TRL counts padding into the length.)
 * @returns [T · H] in row order.
 */
export function embeddingNoise(layout: PackedLayout, hiddenSize: number, alpha: number, seed: number): Float32Array {
  const noise = new Float32Array(layout.tokens * hiddenSize);
  const { sequenceStarts, rowOfToken } = layout;
  let state = deriveSeed(seed, NOISE) || 1;
  for (let b = 0; b + 1 < sequenceStarts.length; b++) {
    const length = sequenceStarts[b + 1]! - sequenceStarts[b]!;
    const magnitude = alpha / Math.sqrt(length * hiddenSize);
    for (let token = sequenceStarts[b]!; token < sequenceStarts[b + 1]!; token++) {
      const start = rowOfToken[token]! * hiddenSize;
      for (let i = start; i < start + hiddenSize; i++) {
        // xorshift32: millions of draws a step.
        state ^= state << 13;
        state ^= state >>> 17;
        state ^= state << 5;
        noise[i] = ((state >>> 0) / 2 ** 31 - 1) * magnitude;
      }
    }
  }
  return noise;
}
