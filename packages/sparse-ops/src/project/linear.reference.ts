/** @file Plain loops that say the same as linear.ts. */

/** y[t, o] = Σᵢ x[t, i]·w[o, i] + b[o]; x [T, in], w [out, in] row-major. */
export function linearReference(
  x: Float32Array,
  w: Float32Array,
  b: Float32Array | null,
  T: number,
  In: number,
  Out: number,
): Float32Array {
  const y = new Float32Array(T * Out);
  for (let t = 0; t < T; t++) {
    for (let o = 0; o < Out; o++) {
      let sum = b ? b[o]! : 0;
      for (let i = 0; i < In; i++) sum += x[t * In + i]! * w[o * In + i]!;
      y[t * Out + o] = sum;
    }
  }
  return y;
}
