/** @file Plain loops that say the same as oracle.ts, written from NOTES. */
import { normsReference } from './svd.reference.js';

/** |W_down|·‖h‖ column-wise, each row divided by its sum, summed over rows. h: rows [T][I], w: rows [H][I]. */
export function wandaReference(h: readonly ArrayLike<number>[], w: readonly ArrayLike<number>[]): number[] {
  const norms = normsReference(h);
  const scores = norms.map(() => 0);
  for (const row of w) {
    const importance = norms.map((norm, i) => Math.abs(row[i]!) * norm);
    const sum = importance.reduce((a, b) => a + b, 0);
    importance.forEach((value, i) => {
      scores[i]! += value / sum;
    });
  }
  return scores;
}
