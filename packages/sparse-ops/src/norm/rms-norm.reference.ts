/** @file Plain loops that say the same as rms-norm.ts. */

const inverseRms = (x: Float32Array, t: number, H: number, eps: number): number => {
  let squares = 0;
  for (let h = 0; h < H; h++) squares += x[t * H + h]! ** 2;
  return 1 / Math.sqrt(squares / H + eps);
};

/** y[t, h] = w[h]·x[t, h]·rₜ with rₜ = 1/√(meanₕ x[t, h]² + ε); x [T, H]. */
export function rmsNormReference(x: Float32Array, w: Float32Array, eps: number, T: number, H: number): Float32Array {
  const y = new Float32Array(T * H);
  for (let t = 0; t < T; t++) {
    const r = inverseRms(x, t, H, eps);
    for (let h = 0; h < H; h++) y[t * H + h] = w[h]! * x[t * H + h]! * r;
  }
  return y;
}

/** dx[t, i] = Σₕ dy[t, h]·∂y[t, h]/∂x[t, i], with ∂y[t, h]/∂x[t, i] = w[h]·(δₕᵢ·rₜ − x[t, h]·x[t, i]·rₜ³/H). */
export function rmsNormGradReference(
  x: Float32Array,
  w: Float32Array,
  dy: Float32Array,
  eps: number,
  T: number,
  H: number,
): Float32Array {
  const dx = new Float32Array(T * H);
  for (let t = 0; t < T; t++) {
    const r = inverseRms(x, t, H, eps);
    for (let i = 0; i < H; i++) {
      let sum = 0;
      for (let h = 0; h < H; h++) {
        const slope = (h === i ? r : 0) - (x[t * H + h]! * x[t * H + i]! * r ** 3) / H;
        sum += dy[t * H + h]! * w[h]! * slope;
      }
      dx[t * H + i] = sum;
    }
  }
  return dx;
}
