/** @file Plain loops that say the same as lora-linear.ts. */

export interface LoraShapes {
  readonly T: number;
  readonly In: number;
  readonly Out: number;
  readonly r: number;
}

/** Row-major a [m, k] times b [k, n]. */
export function product(a: ArrayLike<number>, b: ArrayLike<number>, m: number, k: number, n: number): Float64Array {
  const c = new Float64Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      for (let l = 0; l < k; l++) c[i * n + j]! += a[i * k + l]! * b[l * n + j]!;
    }
  }
  return c;
}

/** Row-major transpose of a [m, n]. */
export function transposed(a: ArrayLike<number>, m: number, n: number): Float64Array {
  return Float64Array.from({ length: m * n }, (_, i) => a[(i % m) * n + Math.floor(i / m)]!);
}

/** y = base + s·(x·Aᵀ)·Bᵀ. */
export function loraLinearReference(
  x: Float32Array,
  base: Float32Array,
  A: Float32Array,
  B: Float32Array,
  s: number,
  { T, In, Out, r }: LoraShapes,
): Float32Array {
  const h = product(x, transposed(A, r, In), T, In, r);
  const delta = product(h, transposed(B, Out, r), T, r, Out);
  return Float32Array.from(base, (b, i) => b + s * delta[i]!);
}

/** Gradients of x, base, A and B for dy [T, out]. */
export function loraLinearGradReference(
  x: Float32Array,
  A: Float32Array,
  B: Float32Array,
  dy: Float32Array,
  s: number,
  { T, In, Out, r }: LoraShapes,
): ArrayLike<number>[] {
  const h = product(x, transposed(A, r, In), T, In, r);
  const dh = product(dy, B, T, Out, r).map((v) => s * v);
  const dA = product(transposed(dh, T, r), x, r, T, In);
  const dB = product(transposed(dy, T, Out), h, Out, T, r).map((v) => s * v);
  return [product(dh, A, T, r, In), dy, dA, dB];
}
