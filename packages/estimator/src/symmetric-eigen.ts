/** @file Eigenvalues of small symmetric matrices, on the host in float64 (ml-matrix: tridiagonalisation and implicit QL). */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';

export interface SymmetricEigen {
  /** Descending. */
  readonly values: Float64Array;
  /** [n, n] row-major; column j belongs to `values[j]`, orthonormal. */
  readonly vectors: Float64Array;
}

/** @param matrix [n, n] row-major, symmetric. */
export function symmetricEigen(matrix: ArrayLike<number>, n: number): SymmetricEigen {
  const rows = new Matrix(n, n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) rows.set(i, j, (matrix[i * n + j]! + matrix[j * n + i]!) / 2);
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(rows, { assumeSymmetric: true });
  const values = new Float64Array(n);
  const vectors = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    const from = n - 1 - j; // ml-matrix orders them ascending
    values[j] = realEigenvalues[from]!;
    for (let i = 0; i < n; i++) vectors[i * n + j] = eigenvectorMatrix.get(i, from);
  }
  return { values, vectors };
}
