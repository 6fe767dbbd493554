/** @file Plain loops that say the same as gram-scores.ts, with the product x·a·b that the op avoids. */

/** L2 norm over tokens of each column of x·a·b; x [T, In], a [In, r], b [r, n] row-major. */
export function gramScoresReference(
  x: Float32Array,
  a: Float32Array,
  b: Float32Array,
  { T, In, r, n }: { readonly T: number; readonly In: number; readonly r: number; readonly n: number },
): Float32Array {
  const squares = new Float64Array(n);
  for (let t = 0; t < T; t++) {
    const p = new Float64Array(r);
    for (let i = 0; i < In; i++) for (let k = 0; k < r; k++) p[k]! += x[t * In + i]! * a[i * r + k]!;
    for (let j = 0; j < n; j++) {
      let y = 0;
      for (let k = 0; k < r; k++) y += p[k]! * b[k * n + j]!;
      squares[j]! += y * y;
    }
  }
  return Float32Array.from(squares, Math.sqrt);
}
