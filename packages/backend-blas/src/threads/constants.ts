/**
 * @file The constants of the kernels' exponential, which lie in the memory: assembly/vector.ts says why. The polynomial is the one of degree 5 whose
 * largest relative error from 2ᶠ for |f| ≤ ½ is least among those that are 1 at 0.
 */

/** In the order of their numbers in `assembly/`: least exponent, 1.5·2²³, the polynomial from its highest power, log₂ e, highest exponent. */
const VALUES = [
  ...[-125, 12582912, 1.3264727e-3, 9.671513e-3, 5.5507336e-2, 0.24022242, 0.6931470036506653, 1],
  ...[Math.LOG2E, 126],
];

/** Where they begin, as assembly/vector.ts says, and how many bytes they take. */
export const CONSTANTS_AT = 64;
export const CONSTANTS_BYTES = 16 * VALUES.length;

export function writeConstants(memory: WebAssembly.Memory): void {
  const lanes = new Float32Array(memory.buffer, CONSTANTS_AT, 4 * VALUES.length);
  VALUES.forEach((value, n) => {
    lanes.fill(value, 4 * n, 4 * n + 4);
  });
}
