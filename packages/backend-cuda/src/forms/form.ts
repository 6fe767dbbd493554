/**
 * @file How a frozen matrix is stored, and how whoever multiplies by it reads it. bf16 and float are plain (plain.ts); e4m3 (e4m3.ts) is FP8's. A form is one
 * file: it says how products run, how kept rows and columns are taken, and (unpacking.ts) how it becomes plain numbers, which is what everything else reads:
 * merging, DoRA's norms, predictors, oracles, all of tfjs's own ops.
 */
import type { TensorInfo } from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import type { LowRank, MatrixType, Turn } from '../device/product.js';
import { BYTES, type Physical } from '../storage.js';

/** Rows of activations or of their gradients as a form's products take them. */
export interface Rows {
  readonly rows: number;
  /** Numbers of a row. */
  readonly columns: number;
  /** Some of the rows, which live as long as these. */
  slice(from: number, to: number): Rows;
  release(): void;
}

/** What a product writes: d = … + beta·c. */
export interface Sum {
  /** Its address. */
  readonly d: number;
  readonly type: MatrixType;
  /** Numbers from row to row; by default its rows lie one after the other. */
  readonly ldd?: number;
  readonly beta?: 0 | 1;
  /** Default d. */
  readonly c?: number;
  /** Added to it, where the form's `addsLowRank` says that this can be. */
  readonly lowRank?: LowRank;
  /** See `Product`. */
  readonly turn?: Turn;
  readonly multiprocessors?: number;
}

/** What rows of a product are: a layer's input, or the gradient of its output. */
export type Role = 'input' | 'gradient';

export interface StoredForm {
  /**
   * Matrices of one key take the same rows.
   * @param weight [out, in].
   */
  keyOf(weight: TensorInfo): string;
  /** x [T, n] in `type` as products with `weight` take it in this role; x must live as long. Owned by the caller. */
  rowsOf(backend: CudaBackend, x: TensorInfo, weight: TensorInfo, type: MatrixType, role: Role): Rows;
  /** d [T, out] = x·Wᵀ for x of `rowsOf`. */
  times(backend: CudaBackend, x: Rows, weight: TensorInfo, sum: Sum): void;
  /** d [T, in] = dy·W for dy of `rowsOf`. */
  timesTransposed(backend: CudaBackend, dy: Rows, weight: TensorInfo, sum: Sum): void;
  /** Whether `times`, or `timesTransposed`, of so many rows of type bf16 can add a low-rank branch. */
  addsLowRank?(backend: CudaBackend, weight: TensorInfo, rows: number, transposed: boolean): boolean;
  /** W[indices] [kept, in] in this form or plain, or of several matrices, each with its own indices, one below the other [Σkept, in]; owned by the caller. */
  keptRows(backend: CudaBackend, weights: readonly TensorInfo[], indices: readonly TensorInfo[]): TensorInfo;
  /** W[:, indices] [out, kept], likewise. */
  keptColumns(backend: CudaBackend, weight: TensorInfo, indices: TensorInfo): TensorInfo;
}

const forms = new Map<Physical, StoredForm>();

export function registerForm(physicals: readonly Physical[], form: StoredForm): void {
  for (const physical of physicals) forms.set(physical, form);
}

export function formOf(backend: CudaBackend, weight: TensorInfo): StoredForm {
  const form = forms.get(backend.physical(weight));
  if (!form) throw new TypeError(`internal: no frozen matrix is stored as ${backend.physical(weight)}`);
  return form;
}

/** Activations as products with several matrices take them, which may be in several forms: made when first wanted, for each once. */
export class Activations {
  readonly #made = new Map<string, Rows>();

  /** @param x [T, n] in `type`, which must live as long as this. */
  constructor(
    private readonly backend: CudaBackend,
    readonly x: TensorInfo,
    readonly type: MatrixType,
  ) {}

  /** As products with `weight` take them. */
  for(weight: TensorInfo, role: Role): Rows {
    const form = formOf(this.backend, weight);
    const key = `${role} ${form.keyOf(weight)}`;
    const known = this.#made.get(key);
    if (known) return known;
    const made = form.rowsOf(this.backend, this.x, weight, this.type, role);
    this.#made.set(key, made);
    return made;
  }

  release(): void {
    for (const rows of this.#made.values()) rows.release();
    this.#made.clear();
  }
}

/** Runs `f` with the activations x, in `type`. */
export function withActivations<T>(backend: CudaBackend, x: TensorInfo, type: MatrixType, f: (x: Activations) => T): T {
  const converted = backend.as(x, type);
  const activations = new Activations(backend, converted, type);
  try {
    return f(activations);
  } finally {
    activations.release();
    backend.release(converted);
  }
}

/** d = x·Wᵀ of the rows [from, to) of x. */
export function timesWeight(
  backend: CudaBackend,
  x: Activations,
  weight: TensorInfo,
  sum: Sum,
  from = 0,
  to = x.x.shape[0]!,
): void {
  if (to > from) formOf(backend, weight).times(backend, x.for(weight, 'input').slice(from, to), weight, sum);
}

/** d = dy·W of the rows [from, to) of dy. */
export function timesTransposed(
  backend: CudaBackend,
  dy: Activations,
  weight: TensorInfo,
  sum: Sum,
  from = 0,
  to = dy.x.shape[0]!,
): void {
  if (to > from)
    formOf(backend, weight).timesTransposed(backend, dy.for(weight, 'gradient').slice(from, to), weight, sum);
}

/** W[indices] of a matrix, or of several, each with its own indices, one below the other [Σkept, in]; owned by the caller. */
export function keptRows(
  backend: CudaBackend,
  weights: readonly TensorInfo[],
  indices: readonly TensorInfo[],
): TensorInfo {
  const [first, ...others] = weights.map((weight) => backend.physical(weight));
  return others.every((physical) => physical === first)
    ? formOf(backend, weights[0]!).keptRows(backend, weights, indices)
    : keptRowsUnpacked(backend, weights, indices);
}

/** The same as plain numbers, where the matrices have no form in common. */
export function keptRowsUnpacked(
  backend: CudaBackend,
  weights: readonly TensorInfo[],
  indices: readonly TensorInfo[],
): TensorInfo {
  const type = backend.weightType;
  return belowEachOther(backend, weights, indices, type, (weight, indices, to) => {
    const rows = formOf(backend, weight).keptRows(backend, [weight], [indices]);
    const plain = backend.as(rows, type);
    backend.copy(backend.address(plain), to, indices.shape[0]! * weight.shape[1]! * BYTES[type]);
    backend.release(rows);
    backend.release(plain);
  });
}

/**
 * Rows of several matrices [., in] one below the other, as element type `physical`; owned by the caller.
 * @param write puts rows of one of them where they belong.
 */
export function belowEachOther(
  backend: CudaBackend,
  weights: readonly TensorInfo[],
  indices: readonly TensorInfo[],
  physical: Physical,
  write: (weight: TensorInfo, indices: TensorInfo, to: number) => void,
): TensorInfo {
  const columns = weights[0]!.shape[1]!;
  const kept = indices.map(({ shape }) => shape[0]!);
  const all = backend.output([kept.reduce((sum, n) => sum + n, 0), columns], 'float32', physical);
  let to = backend.address(all);
  weights.forEach((weight, n) => {
    if (kept[n]! > 0) write(weight, indices[n]!, to);
    to += kept[n]! * columns * BYTES[physical];
  });
  return all;
}

/** W[:, indices], owned by the caller. */
export const keptColumns = (backend: CudaBackend, weight: TensorInfo, indices: TensorInfo): TensorInfo =>
  formOf(backend, weight).keptColumns(backend, weight, indices);

/** Runs `f` with `weight` in a plain type: itself, or a copy that is unpacked for it. */
export function inPlain<T>(backend: CudaBackend, weight: TensorInfo, f: (weight: TensorInfo) => T): T {
  const plain = backend.codebook(weight) ? backend.as(weight, backend.weightType) : backend.share(weight);
  try {
    return f(plain);
  } finally {
    backend.release(plain);
  }
}
