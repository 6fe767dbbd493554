/** @file The constants of the kernels' exponential, which lie in the memory: assembly/vector.ts says why. */
import type { SharedMemory } from '../memory/heap.js';

/**
 * In the order of their numbers in `assembly/`: least x, 1.5·2²³, log₂ e, ln 2 and what it lacks, Cephes' polynomial, 1, greatest x; then of the powers of
 * 2 the least x, and the polynomial of least relative error for |r| ≤ ½ (Remez), whose constant is 1.
 */
const VALUES = [
  ...[-86, 12582912, Math.LOG2E, 0.693359375, 2.1219444e-4],
  ...[1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5],
  ...[1, 86],
  ...[-125, 1.3276472e-3, 9.6755413e-3, 5.55071327e-2, 0.2402211972, 0.69314696706],
];

/** Where they begin, as assembly/vector.ts says, and how many bytes they take. */
export const CONSTANTS_AT = 64;
export const CONSTANTS_BYTES = 16 * VALUES.length;

export function writeConstants(memory: SharedMemory): void {
  const lanes = new Float32Array(memory.buffer, CONSTANTS_AT, 4 * VALUES.length);
  VALUES.forEach((value, n) => {
    lanes.fill(value, 4 * n, 4 * n + 4);
  });
}
