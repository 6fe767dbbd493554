/**
 * @file Sum, Mean, Prod, Max, Min, All and Any over any axes (`cuda/reduce.cu`). Sums of bf16 are float; extremes keep the physical type.
 */
import * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../backend.js';
import { blocksFor, PACK, packAligned, THREADS } from '../shared/launching.js';
import { registerCudaKernel } from '../shared/register.js';
import { declareVariants } from '../shared/variants.js';
import { BYTES, C_TYPE, type Physical, physicalOf } from '../storage.js';
import { reducible } from './axes.js';
import { cast, filled } from './constant.js';

type Operation = 'Sum' | 'Prod' | 'Max' | 'Min' | 'All' | 'Any';

/** Rows up to this length are reduced by one warp. */
const SHORT = 1024;
/** Threads from which on the GPU is full. */
const FULL = 2 ** 18;

/** What the reduction of nothing is. */
const OF_NOTHING: Readonly<Record<Operation, number>> = {
  Sum: 0,
  Prod: 1,
  Max: -Infinity,
  Min: Infinity,
  All: 1,
  Any: 0,
};

/**
 * `x` reduced over `axis` (all axes by default), times `scale` where it is float. Owned by the caller.
 * @param dtype of the result.
 */
export function reduce(
  backend: CudaBackend,
  operation: Operation,
  x: tf.TensorInfo,
  dtype: tf.DataType,
  axis?: number | number[] | null,
  keepDims = false,
  scale = 1,
): tf.TensorInfo {
  const { x: source, outer, n, inner, shape } = reducible(backend, x, axis, keepDims);
  const from = backend.physical(source);
  const extreme = operation === 'Max' || operation === 'Min';
  const to = extreme && dtype === 'float32' ? from : physicalOf(dtype);
  try {
    if (n === 0) return filled(backend, shape, scale === 1 ? OF_NOTHING[operation] : Number.NaN, dtype, to);
    const result = backend.output(shape, dtype, to);
    const places = { from, to, x: backend.address(source), y: backend.address(result) };
    if (inner === 1) reduceRows(backend, operation, { ...places, rows: outer, n, scale });
    else reduceColumns(backend, operation, { ...places, outer, n, inner, scale });
    return result;
  } finally {
    backend.release(source);
  }
}

interface Places {
  readonly from: Physical;
  readonly to: Physical;
  readonly x: number;
  readonly y: number;
  readonly n: number;
  readonly scale: number;
}

/** Integers and floats are reduced in their own kind. */
const partial = (from: Physical): Physical => (from === 'f32' || from === 'bf16' ? 'f32' : 'i32');
const defines = (operation: Operation, from: Physical, to: Physical) => ({
  OP: operation,
  FROM: C_TYPE[from],
  TO: C_TYPE[to],
});

function reduceRows(backend: CudaBackend, operation: Operation, places: Places & { readonly rows: number }): void {
  const { from, to, x, y, rows, n, scale } = places;
  const packed = n % PACK === 0 && packAligned(x, from) ? 1 : 0;
  if (n <= SHORT) {
    const kernel = backend.kernel('reduce', 'reduce_short_rows', 'ppllif', defines(operation, from, to));
    backend.launch(kernel, [blocksFor(rows * 32)], [THREADS], [x, y, rows, n, packed, scale]);
    return;
  }
  // As many blocks as fill the GPU, but none without work: a thread has eight packs at least.
  const wanted = Math.min(Math.ceil(FULL / THREADS / rows), Math.ceil(n / (THREADS * PACK * 8)));
  const chunk = Math.ceil(n / wanted / PACK) * PACK;
  const splits = Math.ceil(n / chunk);
  const launch = (type: Physical, at: number, factor: number) =>
    backend.launch(
      backend.kernel('reduce', 'reduce_rows', 'ppllliif', defines(operation, from, type)),
      [Math.min(rows * splits, 2 ** 20)],
      [THREADS],
      [x, at, rows, n, chunk, splits, packed, factor],
    );
  if (splits === 1) {
    launch(to, y, scale);
    return;
  }
  const between = partial(from);
  backend.scratch(rows * splits * BYTES[between], (at) => {
    launch(between, at, 1);
    reduceRows(backend, operation, { from: between, to, x: at, y, rows, n: splits, scale });
  });
}

type Columns = Places & { readonly outer: number; readonly inner: number };

function reduceColumns(backend: CudaBackend, operation: Operation, places: Columns): void {
  const { from, to, x, y, outer, n, inner, scale } = places;
  const columns = outer * inner;
  const wanted = Math.max(1, Math.min(Math.ceil(FULL / columns), Math.ceil(n / 32)));
  const chunk = Math.ceil(n / wanted);
  const splits = Math.ceil(n / chunk);
  const launch = (type: Physical, at: number, factor: number) =>
    backend.launch(
      backend.kernel('reduce', 'reduce_columns', 'ppllllif', defines(operation, from, type)),
      [blocksFor(columns * splits)],
      [THREADS],
      [x, at, outer, n, inner, chunk, splits, factor],
    );
  if (splits <= 1) {
    launch(to, y, scale);
    return;
  }
  const between = partial(from);
  backend.scratch(columns * splits * BYTES[between], (at) => {
    launch(between, at, 1);
    reduceColumns(backend, operation, { ...places, from: between, x: at, n: splits });
  });
}

interface Attributes {
  readonly axis?: number | number[];
  readonly reductionIndices?: number | number[];
  readonly keepDims?: boolean;
}

const RESULT: Readonly<Record<Operation, (dtype: tf.DataType) => tf.DataType>> = {
  Sum: (dtype) => tf.upcastType(dtype, 'int32'),
  Prod: (dtype) => tf.upcastType(dtype, 'int32'),
  Max: (dtype) => dtype,
  Min: (dtype) => dtype,
  All: () => 'bool',
  Any: () => 'bool',
};

for (const operation of Object.keys(RESULT) as Operation[]) {
  registerCudaKernel<'x', Attributes>(
    operation,
    ({ backend, inputs: { x }, attributes: { axis, reductionIndices, keepDims } }) =>
      reduce(backend, operation, x, RESULT[operation](x.dtype), reductionIndices ?? axis, keepDims),
  );
}

registerCudaKernel<'x', Attributes>(tf.Mean, ({ backend, inputs: { x }, attributes: { axis, keepDims } }) => {
  const axes = tf.util.parseAxisParam((axis ?? x.shape.map((_, n) => n)) as number[], x.shape);
  const count = axes.reduce((product, place) => product * x.shape[place]!, 1);
  const floats = cast(backend, x, 'float32');
  const mean = reduce(backend, 'Sum', floats, 'float32', axes, keepDims, 1 / count);
  backend.release(floats);
  return mean;
});

declareVariants('reduce', [
  ...(['Sum', 'Prod', 'Max', 'Min'] as const).flatMap((OP) => [
    { OP, FROM: 'float', TO: 'float' },
    { OP, FROM: 'bf16', TO: 'float' },
    { OP, FROM: 'int', TO: 'int' },
    { OP, FROM: 'u8', TO: 'int' },
  ]),
  ...(['Max', 'Min'] as const).flatMap((OP) => [
    { OP, FROM: 'bf16', TO: 'bf16' },
    { OP, FROM: 'float', TO: 'bf16' },
    { OP, FROM: 'u8', TO: 'u8' },
    { OP, FROM: 'int', TO: 'u8' },
  ]),
  ...(['All', 'Any'] as const).flatMap((OP) => [
    { OP, FROM: 'u8', TO: 'u8' },
    { OP, FROM: 'u8', TO: 'int' },
    { OP, FROM: 'int', TO: 'u8' },
    { OP, FROM: 'int', TO: 'int' },
  ]),
]);
