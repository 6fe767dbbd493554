/** @file Plain loops that say the same as lora.ts and dora.ts, in double precision. Matrices are row-major. */

export interface LoraValues {
  /** [T, in] */
  readonly x: ArrayLike<number>;
  /** [out, in] */
  readonly weight: ArrayLike<number>;
  /** [out] */
  readonly bias: ArrayLike<number> | null;
  /** [r, in] */
  readonly a: ArrayLike<number>;
  /** [out, r] */
  readonly b: ArrayLike<number>;
  readonly scaling: number;
  readonly T: number;
  readonly In: number;
  readonly Out: number;
  readonly r: number;
}

/** V = W + s·B·A [out, in]. */
export function turnedWeight({ weight, a, b, scaling, In, Out, r }: LoraValues): Float64Array {
  return Float64Array.from({ length: Out * In }, (_, n) => {
    const [o, i] = [Math.floor(n / In), n % In];
    let sum = 0;
    for (let k = 0; k < r; k++) sum += b[o * r + k]! * a[k * In + i]!;
    return weight[n]! + scaling * sum;
  });
}

/** Lengths of the rows of a matrix with `In` columns. */
export function rowLengths(weight: ArrayLike<number>, In: number): Float64Array {
  return Float64Array.from({ length: weight.length / In }, (_, o) =>
    Math.hypot(...Array.from({ length: In }, (_, i) => weight[o * In + i]!)),
  );
}

/** y[t, o] = Σᵢ x[t, i]·w[o, i] + b[o]. */
export function product(
  x: ArrayLike<number>,
  w: ArrayLike<number>,
  bias: ArrayLike<number> | null,
  In: number,
): Float64Array {
  const Out = w.length / In;
  return Float64Array.from({ length: (x.length / In) * Out }, (_, n) => {
    const [t, o] = [Math.floor(n / Out), n % Out];
    let sum = bias?.[o] ?? 0;
    for (let i = 0; i < In; i++) sum += x[t * In + i]! * w[o * In + i]!;
    return sum;
  });
}

/** x·Wᵀ + bias + s·dropped·Aᵀ·Bᵀ, where `dropped` is x after dropout. */
export function loraReference(v: LoraValues, dropped: ArrayLike<number> = v.x): Float64Array {
  const base = product(v.x, v.weight, v.bias, v.In);
  const added = product(dropped, turnedWeight({ ...v, weight: new Float64Array(v.Out * v.In) }), null, v.In);
  return base.map((value, n) => value + added[n]!);
}

/**
 * DoRA as PEFT 0.21 computes it: result + (m/n − 1)·product + (m/n)·s·B·A·x, the product being the base result without bias, or with
 * dropout that of the dropped input.
 * @param norms lengths n of V's rows; taken as constants in the gradient.
 */
export function doraReference(
  v: LoraValues,
  magnitude: ArrayLike<number>,
  norms: ArrayLike<number> = rowLengths(turnedWeight(v), v.In),
  dropped: ArrayLike<number> = v.x,
): Float64Array {
  const result = product(v.x, v.weight, v.bias, v.In);
  const plain = product(dropped, v.weight, null, v.In);
  const added = product(dropped, turnedWeight({ ...v, weight: new Float64Array(v.Out * v.In) }), null, v.In);
  return result.map((value, n) => {
    const ratio = magnitude[n % v.Out]! / norms[n % v.Out]!;
    return value + (ratio - 1) * plain[n]! + ratio * added[n]!;
  });
}
