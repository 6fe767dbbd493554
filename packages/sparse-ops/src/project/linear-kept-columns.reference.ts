/** @file Plain loops that say the same as linear-kept-columns.ts. */

/** y[t, o] = Σₖ x[t, k]·w[o, kept[k]] + b[o]; x [T, kept], w [Out, In] row-major. */
export function linearKeptColumnsReference(
  x: Float32Array,
  w: Float32Array,
  kept: ArrayLike<number>,
  b: Float32Array | null,
  T: number,
  Out: number,
  In: number,
): Float32Array {
  const y = new Float32Array(T * Out);
  for (let t = 0; t < T; t++) {
    for (let o = 0; o < Out; o++) {
      let sum = b ? b[o]! : 0;
      for (let k = 0; k < kept.length; k++) sum += x[t * kept.length + k]! * w[o * In + kept[k]!]!;
      y[t * Out + o] = sum;
    }
  }
  return y;
}

/** dx[t, k] = Σₒ dy[t, o]·w[o, kept[k]]. */
export function linearKeptColumnsGradReference(
  dy: Float32Array,
  w: Float32Array,
  kept: ArrayLike<number>,
  T: number,
  Out: number,
  In: number,
): Float32Array {
  const dx = new Float32Array(T * kept.length);
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < kept.length; k++) {
      for (let o = 0; o < Out; o++) dx[t * kept.length + k]! += dy[t * Out + o]! * w[o * In + kept[k]!]!;
    }
  }
  return dx;
}
