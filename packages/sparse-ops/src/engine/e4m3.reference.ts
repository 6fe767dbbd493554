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

/** Rows of n values as products in FP8 take gradients: each scaled by a power of two. */
export function e4m3GradientRowsReference(values: Float32Array, n: number): Float32Array {
  return roundedRows(values, n, powerOfTwo);
}

/** Rows of n values as products in FP8 take a layer's input. @param outliers channels of which what a code leaves is a code too. */
export const e4m3RowsReference = (
  values: Float32Array,
  n: number,
  outliers: ReadonlySet<number> = NONE,
): Float32Array => roundedRows(values, n, e4m3FinestScale, outliers);

const NONE: ReadonlySet<number> = new Set();

function roundedRows(
  values: Float32Array,
  n: number,
  scaleOf: (row: Float32Array) => Scale,
  outliers = NONE,
): Float32Array {
  const rounded = new Float32Array(values.length);
  for (let at = 0; at < values.length; at += n) {
    const row = values.subarray(at, at + n);
    const { scale, inverse } = scaleOf(row);
    row.forEach((number, i) => {
      const x = Math.fround(number * inverse);
      const code = roundToE4m3(x);
      rounded[at + i] = (code + (outliers.has(i) ? roundToE4m3(x - code) : 0)) * scale;
    });
  }
  return rounded;
}

const isUsual = (most: number): boolean => most >= 2 ** -100 && most <= 2 ** 100;

function powerOfTwo(row: Float32Array): Scale {
  const scale = e4m3Scale(row);
  return { scale, inverse: 1 / scale };
}

interface Scale {
  readonly scale: number;
  readonly inverse: number;
}

const { fround } = Math;

/** The greatest magnitude of each stretch of a row: of a power of two of octets, such that there are 16 to 32 stretches where there are 16 octets. */
function stretchesOf(row: Float32Array): number[] {
  const octets = Math.ceil(row.length / 8);
  const size = 8 * 2 ** Math.max(0, exponentOf(octets) - 4);
  return Array.from({ length: Math.ceil(row.length / size) }, (_, n) =>
    row.subarray(n * size, (n + 1) * size).reduce((most, x) => Math.max(most, Math.abs(x)), 0),
  );
}

/** To four significant bits, ties to even, however small. */
function roundToFourBits(x: number): number {
  if (x === 0) return 0;
  const step = 2 ** (exponentOf(x) - 3);
  return roundToE4m3(x / step) * step;
}

/** The codes of the uppermost octave. */
const CODES = [240, 256, 288, 320, 352, 384, 416, 448];

/**
 * Of the eight scales by which the greatest number of a row is a code as it is, the one by which the greatest numbers of its stretches are rounded with the
 * least sum of squared errors, the first of equals; in float32, and errors are told apart to 21 bits. A greatest number below 2^-100 or above 2^100 gets
 * the power of two of `e4m3Scale`.
 */
export function e4m3FinestScale(row: Float32Array): Scale {
  const numbers = stretchesOf(row);
  const most = Math.max(...numbers);
  if (!isUsual(most)) return powerOfTwo(row);
  const inverseOf = (code: number) => fround(code * fround(1 / most));
  let [best, least] = [CODES[0]!, Number.POSITIVE_INFINITY];
  for (const code of CODES) {
    const squares = numbers.map((number) => {
      const x = fround(number * inverseOf(code));
      return fround(fround(roundToFourBits(x) - x) ** 2);
    });
    const error = withoutLast3Bits(fround(sumOfLanes(squares) / (code * code)));
    if (error < least) [best, least] = [code, error];
  }
  return { scale: fround(most / best), inverse: inverseOf(best) };
}

/** As the lanes of a warp add up to 32 numbers. */
function sumOfLanes(numbers: readonly number[]): number {
  let lanes = Array.from({ length: 32 }, (_, n) => numbers[n] ?? 0);
  for (const offset of [16, 8, 4, 2, 1]) lanes = lanes.map((x, n) => fround(x + lanes[n ^ offset]!));
  return lanes[0]!;
}

function withoutLast3Bits(x: number): number {
  const word = new DataView(new ArrayBuffer(4));
  word.setFloat32(0, x);
  word.setUint32(0, word.getUint32(0) & ~7);
  return word.getFloat32(0);
}
