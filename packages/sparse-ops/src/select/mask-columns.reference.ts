/** @file Plain loops that say the same as mask-columns.ts. */

/** x with zeros in columns that `kept` lacks, in rows from `fromRow` on; x [T, n] row-major. */
export function maskColumnsReference(
  x: Float32Array,
  kept: ArrayLike<number>,
  fromRow: number,
  T: number,
  n: number,
): Float32Array {
  const y = x.slice();
  const keeps = new Set(Array.from(kept));
  for (let t = fromRow; t < T; t++) {
    for (let c = 0; c < n; c++) if (!keeps.has(c)) y[t * n + c] = 0;
  }
  return y;
}
