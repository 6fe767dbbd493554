/** @file Plain loops that say the same as scatter-columns.ts. */

/** y[t, kept[k]] = x[t, k], zero elsewhere; x [T, kept] row-major, y [T, total]. */
export function scatterColumnsReference(
  x: Float32Array,
  kept: ArrayLike<number>,
  T: number,
  total: number,
): Float32Array {
  const y = new Float32Array(T * total);
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < kept.length; k++) y[t * total + kept[k]!] = x[t * kept.length + k]!;
  }
  return y;
}
