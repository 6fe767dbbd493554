/** @file Plain loops that say the same as linear-kept-rows.ts. */

/** y[t, k] = Σᵢ x[t, i]·w[kept[k], i] + b[kept[k]]; x [T, In], w [out, In] row-major. */
export function linearKeptRowsReference(
  x: Float32Array,
  w: Float32Array,
  kept: ArrayLike<number>,
  b: Float32Array | null,
  T: number,
  In: number,
): Float32Array {
  const y = new Float32Array(T * kept.length);
  for (let t = 0; t < T; t++) {
    for (let k = 0; k < kept.length; k++) {
      let sum = b ? b[kept[k]!]! : 0;
      for (let i = 0; i < In; i++) sum += x[t * In + i]! * w[kept[k]! * In + i]!;
      y[t * kept.length + k] = sum;
    }
  }
  return y;
}

/** dx[t, i] = Σₖ dy[t, k]·w[kept[k], i]. */
export function linearKeptRowsGradReference(
  dy: Float32Array,
  w: Float32Array,
  kept: ArrayLike<number>,
  T: number,
  In: number,
): Float32Array {
  const dx = new Float32Array(T * In);
  for (let t = 0; t < T; t++) {
    for (let i = 0; i < In; i++) {
      for (let k = 0; k < kept.length; k++) dx[t * In + i]! += dy[t * kept.length + k]! * w[kept[k]! * In + i]!;
    }
  }
  return dx;
}
