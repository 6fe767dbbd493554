/** @file Plain loops that say the same as rope.ts. */

/** Turns the pair (x[t, h, i], x[t, h, i + d/2]) by the angle of row t; x [T, heads·d], cos and sin [T, d/2]. */
export function ropeReference(
  x: Float32Array,
  cos: Float32Array,
  sin: Float32Array,
  T: number,
  heads: number,
  d: number,
): Float32Array {
  const y = new Float32Array(x.length);
  const half = d / 2;
  for (let t = 0; t < T; t++) {
    for (let h = 0; h < heads; h++) {
      for (let i = 0; i < half; i++) {
        const at = (t * heads + h) * d + i;
        const [c, s] = [cos[t * half + i]!, sin[t * half + i]!];
        y[at] = x[at]! * c - x[at + half]! * s;
        y[at + half] = x[at + half]! * c + x[at]! * s;
      }
    }
  }
  return y;
}
