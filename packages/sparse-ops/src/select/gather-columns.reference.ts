/** @file Plain loops that say the same as gather-columns.ts. */

/** y[t, k] = x[t, kept[k]]; x [T, n] row-major. */
export function gatherColumnsReference(x: Float32Array, kept: ArrayLike<number>, T: number, n: number): Float32Array {
  const y = new Float32Array(T * kept.length);
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < kept.length; k++) y[t * kept.length + k] = x[t * n + kept[k]!]!;
  }
  return y;
}
