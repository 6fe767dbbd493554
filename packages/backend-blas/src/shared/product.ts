/** @file A matrix product in parts, one or two for each thread. */
import type { NativeAddress } from '../library/blas.js';
import type { Pool } from '../threads/pool.js';

/** A matrix where it lies: address of its first number, and numbers from one stored row to the next. */
export type Matrix = readonly [address: NativeAddress, stride: number];

export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** op(a) is [m, k], op(b) [k, n]. */
  readonly a: Matrix;
  readonly b: Matrix;
  /** [m, n]. */
  readonly c: Matrix;
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly alpha?: number;
  /** What c was, times this, is added. Default 0: c may be garbage. */
  readonly beta?: number;
}

/** Multiplications and additions below which one thread is done before another is awake, and above which it is cut finer. */
const SMALL = 2e6;
const LARGE = 1e9;

/** OpenBLAS packs the operands of a product of more multiplications. */
export const UNPACKED = 1e6;

/** Adds it to the current chunk, whole. */
export function addProduct(
  pool: Pool,
  { m, n, k, a, b, c, transposeA, transposeB, alpha = 1, beta = 0 }: Product,
): void {
  if (m === 0 || n === 0) return;
  pool.gemm([transposeA === true, transposeB === true], [m, n, k], alpha, a, b, beta, c);
}

/** Runs it, on all threads where it is worth it. */
export function multiply(pool: Pool, product: Product): void {
  addParts(pool, product);
  pool.run();
}

/** Adds it to the job as chunks of its own. */
export function addParts(pool: Pool, product: Product): void {
  const { a, b, c, transposeA, transposeB } = product;
  eachPart(pool, product, ({ i, j, m, n }) =>
    addProduct(pool, {
      ...product,
      m,
      n,
      a: [a[0] + 4 * (transposeA ? i : i * a[1]), a[1]],
      b: [b[0] + 4 * (transposeB ? j * b[1] : j), b[1]],
      c: [c[0] + 4 * (i * c[1] + j), c[1]],
    }),
  );
}

/** Rows and columns of a product's result. */
export interface Part {
  /** The first row and column. */
  readonly i: number;
  readonly j: number;
  /** How many rows and columns. */
  readonly m: number;
  readonly n: number;
}

/** Cuts an [m, n] result of products with [m, k] and [k, n], as many as threads are kept busy with; what `visit` adds to the job for a part is a chunk. */
export function eachPart(pool: Pool, { m, n, k }: Pick<Product, 'm' | 'n' | 'k'>, visit: (part: Part) => void): void {
  if (m === 0 || n === 0) return;
  const flops = 2 * m * n * k;
  const parts = pool.threads === 1 || flops < SMALL ? 1 : pool.threads * (flops > LARGE ? 2 : 1);
  const rows = partsOfRows(m, n, parts);
  const [rowStep, columnStep] = [step(m, rows), step(n, parts / rows)];
  for (let i = 0; i < m; i += rowStep) {
    for (let j = 0; j < n; j += columnStep) {
      visit({ i, j, m: Math.min(rowStep, m - i), n: Math.min(columnStep, n - j) });
      pool.endChunk();
    }
  }
}

/**
 * Into how many parts the rows are cut, the columns into parts / rows: each part packs what it needs of both operands, so the cut is the one by
 * which least is packed twice.
 */
function partsOfRows(m: number, n: number, parts: number): number {
  let [best, least] = [1, Infinity];
  for (let rows = 1; rows <= parts; rows++) {
    if (parts % rows !== 0) continue;
    const packed = rows * n + (parts / rows) * m;
    if (packed < least) [best, least] = [rows, packed];
  }
  return best;
}

/** Length of each of so many parts, in whole tiles of the BLAS's kernels. */
const step = (length: number, parts: number): number => Math.max(16, Math.ceil(length / parts / 16) * 16);
