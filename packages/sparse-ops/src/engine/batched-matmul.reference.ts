/** @file Plain loops that say the same as batched-matmul.ts. */

/** y[n, i, j] = Σₖ a[n, i, k]·b[n, k, j]; a transposed operand is stored [n, k, i] or [n, j, k]. */
export function batchedMatMulReference(
  a: Float32Array,
  b: Float32Array,
  [batch, m, k, p]: readonly [number, number, number, number],
  transposeA: boolean,
  transposeB: boolean,
): Float32Array {
  const y = new Float32Array(batch * m * p);
  for (let n = 0; n < batch; n++) {
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < p; j++) {
        let sum = 0;
        for (let l = 0; l < k; l++) {
          const left = transposeA ? a[(n * k + l) * m + i]! : a[(n * m + i) * k + l]!;
          const right = transposeB ? b[(n * p + j) * k + l]! : b[(n * k + l) * p + j]!;
          sum += left * right;
        }
        y[(n * m + i) * p + j] = sum;
      }
    }
  }
  return y;
}
