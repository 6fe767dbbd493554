/** @file Matrix products: which tiles, and whether k is divided. */
import type * as tf from '@tensorflow/tfjs';
import { type Backend, f32, forEach, withScratch, words } from './call.js';

/** A matrix in a buffer: numbers from one row to the next and from one column to the next. */
export interface Operand {
  readonly x: tf.TensorInfo;
  readonly row: number;
  readonly column: number;
  /** Numbers before the first. */
  readonly offset?: number;
  /** Numbers from one matrix of a batch to the next. */
  readonly batch?: number;
}

/** A tensor's rows as they lie. */
export const plain = (x: tf.TensorInfo, fromRow = 0): Operand => {
  const width = x.shape.at(-1)!;
  return { x, row: width, column: 1, offset: fromRow * width };
};

/** A tensor's rows as columns. */
export const transposed = (x: tf.TensorInfo, fromRow = 0): Operand => {
  const width = x.shape.at(-1)!;
  return { x, row: 1, column: width, offset: fromRow * width };
};

/** What `indices` name. */
export const Gather = {
  none: 0,
  rowsOfB: 1,
  columnsOfB: 2,
  columnsOfAAndRowsOfB: 3,
  columnsOfA: 4,
} as const;

export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** op(a) [m, k]. */
  readonly a: Operand;
  /** op(b) [k, n]. Read as it is stored, also in 16 bits; other operands would be converted first. */
  readonly b: Operand;
  /** [m, n], rows beside each other by default. */
  readonly c: { readonly x: tf.TensorInfo; readonly row?: number; readonly offset?: number };
  readonly batch?: number;
  readonly alpha?: number;
  /** Adds to c. */
  readonly accumulate?: boolean;
  readonly indices?: tf.TensorInfo;
  readonly gather?: (typeof Gather)[keyof typeof Gather];
  /** Column j of the product goes to column indices[j] of c; the others are left. */
  readonly scatter?: boolean;
  /** By column; by the column's index where columns of b are gathered. */
  readonly bias?: tf.TensorInfo | null;
  readonly added?: { readonly x: tf.TensorInfo; readonly row: number; readonly offset?: number };
}

/** Workgroups from which on a GPU is busy. */
const ENOUGH = 96;

/** c = alpha · op(a) · op(b) + bias + added. */
export function multiply(backend: Backend, product: Product): void {
  const { m, n, k, a, b, c, batch = 1, alpha = 1, accumulate = false } = product;
  if (m === 0 || n === 0 || batch === 0) return;
  const { indices, gather = Gather.none, scatter = false, bias, added } = product;
  const stored = backend.halves.codeOf(b.x);
  const tilesOf = (tile: number) => Math.ceil(m / tile) * Math.ceil(n / tile) * batch;
  const tile = tilesOf(64) >= ENOUGH ? 64 : 32;
  const tiles = tilesOf(tile);
  const divides = tiles < ENOUGH && k >= 512 && batch === 1 && !bias && !added && !scatter;
  const parts = divides ? Math.min(Math.ceil(k / 128), Math.ceil((2 * ENOUGH) / tiles)) : 1;
  const partLength = Math.ceil(k / parts / 16) * 16;
  const run = (to: tf.TensorInfo, row: number, offset: number, cBatch: number, accumulate: boolean) => {
    const params = words(
      ...[m, n, k, parts, partLength],
      ...[a.row, a.column, a.offset ?? 0, a.batch ?? 0],
      ...[b.row, b.column, b.offset ?? 0, b.batch ?? 0],
      ...[row, offset, cBatch],
      ...[added?.row ?? 0, added?.offset ?? 0, f32(alpha)],
    );
    const constants = {
      ...{ TILE: tile, A_ALONG_K: a.column === 1, B_ALONG_K: b.row === 1, B_STORED: stored },
      ...{ GATHER: gather, SCATTER: scatter },
      ...{ WITH_BIAS: !!bias, WITH_ADDED: !!added, ACCUMULATE: accumulate },
    };
    // A shader's buffers are all bound, also those that a variant does not look at.
    const bindings = [a.x, backend.halves.asStored(b.x), indices ?? a.x, bias ?? a.x, added?.x ?? a.x, to];
    const about = backend.isProfiling ? `${m} × ${n} × ${k}, ${parts} parts` : '';
    const groups = [Math.ceil(n / tile), Math.ceil(m / tile), batch * parts] as const;
    backend.dispatch('product', constants, params, bindings, groups, about);
  };
  const row = c.row ?? n;
  if (parts === 1) {
    run(c.x, row, c.offset ?? 0, m * n, accumulate);
    return;
  }
  withScratch(backend, [parts * m * n], (partial) => {
    run(partial!, n, 0, m * n, false);
    forEach(backend, 'sum-parts', [m * n, parts, n, row, c.offset ?? 0], [partial!, c.x], { ACCUMULATE: accumulate });
  });
}

/** Matrices of one dispatch at most, and the buffers that a shader of it binds. */
const AT_ONCE = 3;
const BUFFERS = 3 * AT_ONCE;
/** Of products that are added up. */
const MOST_SUMMED = 64;

/** A product of nothing but op(a) and op(b). */
export type PlainProduct = Pick<Product, 'm' | 'n' | 'k' | 'a' | 'b' | 'c' | 'alpha'>;

export interface TogetherOptions {
  /** Adds to each c. */
  readonly accumulate?: boolean;
  /** Whether the products add up, in the c that they have in common. */
  readonly sum?: boolean;
}

const isAlong = (products: readonly PlainProduct[], along: (product: PlainProduct) => boolean) =>
  products.every((product) => along(product) === along(products[0]!));

/** Several products, in as few dispatches as the device allows: alone each keeps a GPU busy in part. */
export function multiplyTogether(
  backend: Backend,
  products: readonly PlainProduct[],
  { accumulate = false, sum = false }: TogetherOptions = {},
): void {
  // Along a long k the products one after the other are twice as fast as their sum (H200): which buffer is read is not asked of each number.
  const canAdd = (k: number, alpha: number) => k <= MOST_SUMMED && alpha === (products[0]!.alpha ?? 1);
  const stored = products.length > 0 ? backend.halves.codeOf(products[0]!.b.x) : 0;
  const fits =
    products.length > 1 &&
    products.length <= AT_ONCE &&
    backend.device.limits.maxStorageBuffersPerShaderStage >= BUFFERS &&
    isAlong(products, ({ a }) => a.column === 1) &&
    isAlong(products, ({ b }) => b.row === 1) &&
    products.every(({ b }) => backend.halves.codeOf(b.x) === stored) &&
    products.every(({ m, n, k, alpha = 1 }) => m > 0 && n > 0 && (!sum || canAdd(k, alpha))) &&
    [1, products.length].includes(new Set(products.map(({ c }) => c.x)).size);
  if (!fits) {
    products.forEach((product, n) => {
      multiply(backend, { ...product, accumulate: accumulate || (sum && n > 0) });
    });
    return;
  }
  const of = (n: number) => products[n] ?? products[0]!;
  const all = Array.from({ length: AT_ONCE }, (_, n) => of(n));
  const params = words(
    ...all.flatMap(({ m, n, k, a, b, c, alpha = 1 }) => [
      ...[m, n, k, a.row, a.column, a.offset ?? 0, b.row, b.column, b.offset ?? 0],
      ...[c.row ?? n, c.offset ?? 0, f32(alpha)],
    ]),
    products.length,
  );
  const [first, ...others] = [...new Set(products.map(({ c }) => c.x))];
  const oneC = others.length === 0;
  const most = (of: (product: PlainProduct) => number) => Math.max(...products.map(of));
  const z = sum ? 1 : products.length;
  const groupsOf = (tile: number) =>
    [Math.ceil(most(({ n }) => n) / tile), Math.ceil(most(({ m }) => m) / tile), z] as const;
  const tile = groupsOf(64).reduce((product, n) => product * n) >= ENOUGH ? 64 : 32;
  const constants = {
    ...{ TILE: tile, A_ALONG_K: of(0).a.column === 1, B_ALONG_K: of(0).b.row === 1 },
    ...{ B_STORED: stored, SUM: sum, ONE_C: oneC, ACCUMULATE: accumulate },
  };
  const cs = oneC ? [first!, ...backend.unused] : [first!, others[0]!, others[1] ?? backend.unused[1]];
  const bindings = [...all.map(({ a }) => a.x), ...all.map(({ b }) => backend.halves.asStored(b.x)), ...cs];
  const about = backend.isProfiling ? products.map(({ m, n, k }) => `${m} × ${n} × ${k}`).join(', ') : '';
  backend.dispatch('products', constants, params, bindings, groupsOf(tile), about);
}
