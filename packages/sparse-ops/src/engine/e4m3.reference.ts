/** @file E4M3 in plain loops: the oracle of what backends store and multiply in FP8. */

/** The greatest power of two up to a positive x, as its exponent; log2 alone may be off by one. */
function exponentOf(x: number): number {
  const near = Math.round(Math.log2(x));
  return 2 ** near > x ? near - 1 : near;
}

/** The number nearest to x that has a code: four significant bits, multiples of 2^-9 below 2^-6, 448 at most; ties to even. */
export function roundToE4m3(x: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  const size = Math.min(Math.abs(x), 448);
  const step = 2 ** (Math.max(-6, exponentOf(size || 1)) - 3);
  const steps = size / step;
  const below = Math.floor(steps);
  const rest = steps - below;
  const rounded = (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below) * step;
  return Math.sign(x) * Math.min(rounded, 448);
}

/** The power of two to divide by, so that the greatest of `values` is at most 448 and above 224; 1 for zeros. */
export function e4m3Scale(values: ArrayLike<number>): number {
  let most = 0;
  for (let n = 0; n < values.length; n++) most = Math.max(most, Math.abs(values[n]!));
  if (most === 0) return 1;
  const exponent = exponentOf(most);
  return 2 ** (exponent - (most / 2 ** exponent > 1.75 ? 7 : 8));
}

/** The scale of a whole matrix: 2^-7 where that is at most 128 times what `e4m3Scale` says, so that nearly all matrices have the same. */
export function e4m3WeightScale(values: ArrayLike<number>): number {
  const scale = e4m3Scale(values);
  return scale <= 2 ** -7 && scale >= 2 ** -14 ? 2 ** -7 : scale;
}

/** Values as a frozen matrix in FP8 has them. */
export function e4m3WeightReference(values: Float32Array): Float32Array {
  const scale = e4m3WeightScale(values);
  return values.map((x) => roundToE4m3(x / scale) * scale);
}

/** Rows of n values as products in FP8 take them: a scale for each. */
export function e4m3RowsReference(values: Float32Array, n: number): Float32Array {
  const rounded = new Float32Array(values.length);
  for (let at = 0; at < values.length; at += n) {
    const row = values.subarray(at, at + n);
    const scale = e4m3Scale(row);
    row.forEach((x, i) => {
      rounded[at + i] = roundToE4m3(x / scale) * scale;
    });
  }
  return rounded;
}
