/** @file Plain loops that say the same as column-norms.ts. */

/** √Σₜ x[t, c]² for each column; x [T, n] row-major. */
export function columnNormsReference(x: Float32Array, T: number, n: number): Float32Array {
  return Float32Array.from({ length: n }, (_, c) => {
    let squares = 0;
    for (let t = 0; t < T; t++) squares += x[t * n + c]! ** 2;
    return Math.sqrt(squares);
  });
}
