/** @file Plain loops that say the same as gather-rows.ts. */

/** y[r, c] = x[rows[r], c]; x [M, n] row-major. */
export function gatherRowsReference(x: Float32Array, rows: ArrayLike<number>, n: number): Float32Array {
  const y = new Float32Array(rows.length * n);
  for (let r = 0; r < rows.length; r++) {
    for (let c = 0; c < n; c++) y[r * n + c] = x[rows[r]! * n + c]!;
  }
  return y;
}

/** dx[rows[r], c] += dy[r, c]. */
export function gatherRowsGradReference(dy: Float32Array, rows: ArrayLike<number>, M: number, n: number): Float32Array {
  const dx = new Float32Array(M * n);
  for (let r = 0; r < rows.length; r++) {
    for (let c = 0; c < n; c++) dx[rows[r]! * n + c]! += dy[r * n + c]!;
  }
  return dx;
}
