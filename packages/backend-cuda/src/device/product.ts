/** @file A matrix product as it is asked for, and what it has in common with others: by that plans are kept and algorithms lent. */
import type { DATA_TYPE } from '../libraries/cublaslt.js';

/** Of what a product gives. */
export type MatrixType = Exclude<OperandType, 'e4m3'>;
/** Of what it multiplies. */
export type OperandType = keyof typeof DATA_TYPE;

/** scaling·x·wᵀ, of a gradient x·w, in bf16, to be added to a product: a low-rank branch, or its part in the gradient of a layer's input. */
export interface LowRank {
  readonly rank: number;
  readonly scaling: number;
  /** [m, rank] by address, multiples of 16 as `w` and its rows. */
  readonly x: number;
  /** Elements from row to row of x. */
  readonly ldx: number;
  /** [n, rank], an adapter's B; of a gradient (`CodeGradient`) [rank, n], its A. */
  readonly w: number;
}

/** Rotary position embedding of what a product with a branch gives, in heads of 128 numbers. */
export interface Turn {
  /** Addresses of float tables [m, 64], multiples of 8. */
  readonly cos: number;
  readonly sin: number;
}

/** d = alpha·op(a)·op(b) + beta·c, row-major; the matrices of a batch lie `stride` elements apart. */
export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** a is [k, m]. */
  readonly transposeA?: boolean;
  /** b is [n, k]. */
  readonly transposeB?: boolean;
  /** Device addresses. */
  readonly a: number;
  readonly b: number;
  readonly d: number;
  /** Default d. */
  readonly c?: number;
  readonly alpha?: number;
  readonly beta?: number;
  /** Of a and b. Those of e4m3 want `transposeB`, and k, n and leading dimensions that are multiples of 16. */
  readonly type: OperandType;
  /** Of e4m3: address of what a is multiplied by, one float or, with `scaledByRow` (see `scalesRows`), one for each row, a multiple of 16. */
  readonly scaleA?: number;
  readonly scaledByRow?: boolean;
  /** Of c and d. */
  readonly outputType: MatrixType;
  /** Elements from row to row; by default the rows lie one after the other. */
  readonly lda?: number;
  readonly ldb?: number;
  readonly ldc?: number;
  readonly ldd?: number;
  readonly batch?: number;
  readonly strideA?: number;
  readonly strideB?: number;
  readonly strideD?: number;
  /** Added to it, where `CudaBackend.hasOwnProduct` says that this can be. */
  readonly lowRank?: LowRank;
  /** Done to it and its branch, which lies as [n, rank] and is added to nothing else. */
  readonly turn?: Turn;
  /** How many multiprocessors it is made for; all by default. What is made beside others leaves them room, as cuBLASLt's kernels take those they get whole. */
  readonly multiprocessors?: number;
}

/**
 * A product whose operands are still to be said. On the path of every launch: all that are made here are objects of one kind to V8, which finds the parts of
 * such fastest.
 */
export const productOf = (
  m: number,
  n: number,
  k: number,
  type: OperandType,
  outputType: MatrixType,
): { -readonly [Part in keyof Product]: Product[Part] } => ({
  m,
  n,
  k,
  transposeA: false,
  transposeB: false,
  a: 0,
  b: 0,
  d: 0,
  c: undefined,
  alpha: 1,
  beta: 0,
  type,
  scaleA: undefined,
  scaledByRow: false,
  outputType,
  lda: undefined,
  ldb: undefined,
  ldc: undefined,
  ldd: undefined,
  batch: 1,
  strideA: undefined,
  strideB: undefined,
  strideD: undefined,
  lowRank: undefined,
  turn: undefined,
  multiprocessors: undefined,
});

/** The largest power of two up to 256 that divides an address. */
export function alignmentOf(address: number): number {
  // Of an address, which is beyond 32 bits, this is much faster than its remainder.
  const low = address & 255;
  return low === 0 ? 256 : low & -low;
}

/** The product of which this one takes the algorithm: with fewer tokens, rounded to three binary digits, of which it has the rows. */
export function similar(product: Product): Product {
  const rounded = (n: number) => n - (n % 2 ** Math.max(0, Math.floor(Math.log2(n)) - 2));
  return product.transposeA ? { ...product, k: rounded(product.k) } : { ...product, m: rounded(product.m) };
}

/** What a plan depends on beside numbers and places. */
export const flagsOf = (p: Product): number =>
  (p.transposeA ? 1 : 0) |
  (p.transposeB ? 2 : 0) |
  (p.type === 'bf16' ? 4 : 0) |
  (p.outputType === 'bf16' ? 8 : 0) |
  (p.c === undefined || p.c === p.d ? 16 : 0) |
  (p.beta ? 32 : 0) |
  (p.type === 'e4m3' ? 64 : 0) |
  (p.scaledByRow ? 128 : 0);

/** All that a plan depends on, as a file has it. */
export function planKey(p: Product): string {
  const c = p.c ?? p.d;
  const alignments = `${alignmentOf(p.a)},${alignmentOf(p.b)},${alignmentOf(c)},${alignmentOf(p.d)}`;
  const places = `${p.lda ?? 0},${p.ldb ?? 0},${p.ldc ?? 0},${p.ldd ?? 0}${p.multiprocessors ? `,on ${p.multiprocessors}` : ''}`;
  const key = `${p.m},${p.n},${p.k},${flagsOf(p)},${alignments},${places}`;
  return p.batch === undefined || p.batch === 1 ? key : `${key},${p.batch},${p.strideA},${p.strideB},${p.strideD}`;
}

export function describe({ m, n, k, transposeA, transposeB, type, outputType, batch = 1 }: Product): string {
  const [a, b] = [transposeA ? `[${k},${m}]ᵀ` : `[${m},${k}]`, transposeB ? `[${n},${k}]ᵀ` : `[${k},${n}]`];
  return `of ${batch > 1 ? `${batch} times ` : ''}${a}·${b}, ${type} to ${outputType}`;
}
