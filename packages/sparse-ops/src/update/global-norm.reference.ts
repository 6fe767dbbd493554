/** @file Plain loops that say the same as global-norm.ts. */

/** √(Σ x²) over all arrays. */
export function globalNormReference(arrays: readonly ArrayLike<number>[]): number {
  let squares = 0;
  for (const array of arrays) for (let i = 0; i < array.length; i++) squares += array[i]! ** 2;
  return Math.sqrt(squares);
}
