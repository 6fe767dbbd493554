/**
 * @file Matrix products on the memory of tfjs's wasm backend, in place of XNNPACK's: linear layers, dense and by kept channels, forward and backward, and
 * tfjs's own `matMul`. Operands may be transposed, and weights are read by their kept rows or columns where they lie.
 */
import * as tf from '@tensorflow/tfjs';
import type { Address, SimdCall, SimdRun } from './module.js';
import { withCall } from './module.js';
import { inScratch } from './threads/pool.js';

const FLOAT = 4;

/** A matrix where it lies. */
export interface Operand {
  readonly at: Address;
  /** Numbers from one stored row to the next. */
  readonly stride: number;
  /** Whether it is stored as its transpose. */
  readonly transposed?: boolean;
}

/** The second operand of a product: of its stored rows or columns those that int32 lists name, where there are any. */
export interface SelectedOperand extends Operand {
  readonly rows?: Address;
  readonly columns?: Address;
}

export interface Product {
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** [m, k]. */
  readonly a: Operand;
  /** [k, n]. */
  readonly b: SelectedOperand;
  /** [m, n]. */
  readonly c: Operand;
  /** [m, n], or of stride 0 a row for each of them; added. May be c. */
  readonly added?: Operand | null;
  /** Of the product, not of what is added. Default 1. */
  readonly scale?: number;
}

/** Up to so many rows, a transposed b is read once as it lies; for more, packing it pays. */
const FEW_ROWS = 4;

/**
 * Multiplications and additions below which one thread is done before another is awake, and above which a part is cut in two once more. There are more parts
 * than threads, as one that is woken late should find work that is its own, and leave none undone that others wait for.
 */
const SMALL = 1e6;
const LARGE = 1e8;
/** Rows of a part at least, each of which packs all of b that it reads. */
const LEAST_ROWS = 48;

/** c = added + scale·a·b, on all threads where it is worth it. */
export function multiply(call: SimdCall, product: Product): void {
  addProduct(call, product);
  call.pool.run();
}

/** Adds it to the job, in parts. Which part an element is in changes none of its bits (`assembly/multiply.ts`). */
export function addProduct(call: SimdCall, product: Product): void {
  eachPart(call, product, (rows, columns) => callProduct(call, product, rows, columns));
}

/** Some rows or columns: from one to before another. */
export type Stretch = readonly [from: number, to: number];

/** Cuts a product's result for the threads, by rows where there are enough, else by columns; what `visit` adds to the job for a part is a chunk. */
export function eachPart(call: SimdCall, product: Product, visit: (rows: Stretch, columns: Stretch) => void): void {
  const { m, k, n } = product;
  if (m === 0 || n === 0) return;
  const { threads } = call.pool;
  const flops = 2 * m * k * n;
  const parts = threads === 1 || flops < SMALL ? 1 : threads * (flops > LARGE ? 4 : 2);
  const byRows = readsOnce(product) ? 1 : Math.min(parts, Math.max(1, Math.floor(m / LEAST_ROWS)));
  for (const rows of stretches(m, byRows, 4)) {
    for (const columns of stretches(n, Math.ceil(parts / byRows), 8)) {
      visit(rows, columns);
      call.pool.endChunk();
    }
  }
}

/** Whether few rows go over b once, as it lies. */
const readsOnce = ({ m, a, b }: Product): boolean =>
  m <= FEW_ROWS && b.transposed === true && b.columns === undefined && a.transposed !== true;

/** Adds some rows and columns of a product to the current chunk. */
export function callProduct({ pool, module }: SimdCall, product: Product, [i0, i1]: Stretch, [j0, j1]: Stretch): void {
  const { m, k, a, b, c, added, scale = 1 } = product;
  const [addedAt, addedStride] = added ? [added.at, added.stride * FLOAT] : [0, 0];
  const { rows = 0, columns = 0 } = b;
  const result = [c.at, c.stride * FLOAT, addedAt, addedStride, k, scale];
  if (readsOnce(product)) {
    pool.call('multiplyFew', a.at, a.stride * FLOAT, b.at, b.stride * FLOAT, rows, ...result, m, j0, j1);
    return;
  }
  pool.reserve(module.multiplyScratch());
  pool.call(
    'multiply',
    ...[a.at, a.stride * FLOAT, Number(a.transposed ?? false)],
    ...[b.at, b.stride * FLOAT, Number(b.transposed ?? false), rows, columns],
    ...[...result, i0, i1, j0, j1, inScratch(0)],
  );
}

/** [0, length) in so many parts, or fewer, that begin at multiples of `unit`. */
export function stretches(length: number, parts: number, unit: number): [from: number, to: number][] {
  const step = Math.max(unit, Math.ceil(length / parts / unit) * unit);
  return Array.from({ length: Math.ceil(length / step) }, (_, n) => [n * step, Math.min(length, (n + 1) * step)]);
}

const sizes = ({ shape }: tf.TensorInfo) => shape as [number, number];

/** A tensor as it lies. */
export const whole = (call: SimdCall, info: tf.TensorInfo, transposed = false): Operand => ({
  at: call.at(info),
  stride: info.shape.at(-1)!,
  transposed,
});

/** A bias as what is added to every row. */
export const biasOf = (call: SimdCall, bias: tf.TensorInfo | undefined): Operand | null =>
  bias ? { at: call.at(bias), stride: 0 } : null;

export const linear: SimdRun<'SpftLinear'> = (call, { x, weight, bias }) => {
  const [[m, k], [n]] = [sizes(x!), sizes(weight!)];
  const y = call.output([m, n]);
  const [a, b, c] = [whole(call, x!), whole(call, weight!, true), whole(call, y)];
  multiply(call, { m, k, n, a, b, c, added: biasOf(call, bias) });
  return y;
};

export const linearGrad: SimdRun<'SpftLinearGrad'> = (call, { dy, weight }) => {
  const [[m, k], [, n]] = [sizes(dy!), sizes(weight!)];
  const dx = call.output([m, n]);
  multiply(call, { m, k, n, a: whole(call, dy!), b: whole(call, weight!), c: whole(call, dx) });
  return dx;
};

/** The same of kept channels: theirs alone, until the call ends. */
export function keptBiasOf(call: SimdCall, bias: tf.TensorInfo | undefined, indices: tf.TensorInfo): Operand | null {
  if (!bias) return null;
  const n = indices.shape[0]!;
  call.at(bias);
  const added = { at: call.scratch(n), stride: 0 };
  // Views are valid until something allocates, so they are taken after that.
  const [numbers, kept] = [call.values(bias), call.values(indices)];
  const to = new Float32Array(numbers.buffer, added.at, n);
  for (let i = 0; i < n; i++) to[i] = numbers[kept[i]!]!;
  return added;
}

export const linearKeptRows: SimdRun<'SpftLinearKeptRows'> = (call, { x, weight, indices, bias }) => {
  const [[m, k], n] = [sizes(x!), indices!.shape[0]!];
  const y = call.output([m, n]);
  const b = { ...whole(call, weight!, true), rows: call.at(indices!) };
  const added = keptBiasOf(call, bias, indices!);
  multiply(call, { m, k, n, a: whole(call, x!), b, c: whole(call, y), added });
  return y;
};

export const linearKeptRowsGrad: SimdRun<'SpftLinearKeptRowsGrad'> = (call, { dy, weight, indices }) => {
  const [[m, k], [, n]] = [sizes(dy!), sizes(weight!)];
  const dx = call.output([m, n]);
  const b = { ...whole(call, weight!), rows: call.at(indices!) };
  multiply(call, { m, k, n, a: whole(call, dy!), b, c: whole(call, dx) });
  return dx;
};

export const linearKeptColumns: SimdRun<'SpftLinearKeptColumns'> = (call, { x, weight, indices, bias }) => {
  const [[m, k], [n]] = [sizes(x!), sizes(weight!)];
  const y = call.output([m, n]);
  const b = { ...whole(call, weight!, true), columns: call.at(indices!) };
  multiply(call, { m, k, n, a: whole(call, x!), b, c: whole(call, y), added: biasOf(call, bias) });
  return y;
};

export const linearKeptColumnsGrad: SimdRun<'SpftLinearKeptColumnsGrad'> = (call, { dy, weight, indices }) => {
  const [[m, k], n] = [sizes(dy!), indices!.shape[0]!];
  const dx = call.output([m, n]);
  const b = { ...whole(call, weight!), columns: call.at(indices!) };
  multiply(call, { m, k, n, a: whole(call, dy!), b, c: whole(call, dx) });
  return dx;
};

/** Matrices of two batches of equal length, one after the other. */
function multiplyBatch(
  call: SimdCall,
  [a, b]: readonly [tf.TensorInfo, tf.TensorInfo],
  [transposeA, transposeB]: readonly [boolean, boolean],
): tf.TensorInfo {
  const batch = a.shape.slice(0, -2);
  const [k, m] = transposeA ? a.shape.slice(-2) : a.shape.slice(-2).reverse();
  const n = b.shape.at(transposeB ? -2 : -1)!;
  const y = call.output([...batch, m!, n]);
  const [left, right, result] = [whole(call, a, transposeA), whole(call, b, transposeB), whole(call, y)];
  const moved = (operand: Operand, numbers: number) => ({ ...operand, at: operand.at + FLOAT * numbers });
  for (let i = 0, count = tf.util.sizeFromShape(batch); i < count; i++) {
    const [first, second, third] = [moved(left, i * m! * k!), moved(right, i * k! * n), moved(result, i * m! * n)];
    addProduct(call, { m: m!, k: k!, n, a: first, b: second, c: third });
  }
  call.pool.run();
  return y;
}

export const batchedMatMul: SimdRun<'SpftBatchedMatMul'> = (call, { a, b }, { transposeA, transposeB }) =>
  multiplyBatch(call, [a!, b!], [transposeA, transposeB]);

/**
 * tfjs's kernel BatchMatMul, which every `tf.matMul` calls.
 * @param tfjs's own, for what is not float32 or whose batches differ.
 */
export const matMulOrElse =
  (tfjs: tf.KernelFunc): tf.KernelFunc =>
  (params) => {
    const { a, b } = params.inputs as Record<'a' | 'b', tf.TensorInfo>;
    const { transposeA, transposeB } = params.attrs as unknown as tf.BatchMatMulAttrs;
    const plain = [a, b].every(({ dtype, shape }) => dtype === 'float32' && shape.length >= 2);
    if (!plain || !tf.util.arraysEqual(a.shape.slice(0, -2), b.shape.slice(0, -2))) return tfjs(params);
    return withCall(params.backend, (call) => multiplyBatch(call, [a, b], [transposeA, transposeB]));
  };
