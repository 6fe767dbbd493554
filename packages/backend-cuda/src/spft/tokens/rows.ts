/** @file Rows by index and their gradient; rows apart, which copies nothing, and together. */
import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { BYTES, C_TYPE } from '../../storage.js';
import type { CudaKernels } from '../contract.js';

type Info = tf.TensorInfo;

/** The widest unit of 16, 4, 2 or 1 bytes that all of these, lengths in bytes and addresses, are multiples of. */
const unitOf = (...multiples: readonly number[]): number =>
  [16, 4, 2].find((unit) => multiples.every((n) => n % unit === 0)) ?? 1;

/**
 * @param x [M, n]. @param rows int32 [R]. @param y where they go, [R, n] of x's type; by default a new tensor, owned by the caller.
 * @returns x[rows] [R, n].
 */
export function gatherRows(
  backend: CudaBackend,
  x: Info,
  rows: Info,
  y = backend.output([rows.shape[0]!, x.shape[1]!], x.dtype, backend.physical(x)),
): Info {
  const n = x.shape[1]!;
  const count = rows.shape[0]!;
  const physical = backend.physical(x);
  const [from, to] = [backend.address(x), backend.address(y)];
  const unit = unitOf(n * BYTES[physical], from, to);
  const units = (n * BYTES[physical]) / unit;
  if (count === 0 || units === 0) return y;
  const kernel = backend.kernel('gather-rows', 'gather_rows', 'pppil', { UNIT: unit });
  let across = 256;
  while (across > 1 && across * 2 >= units) across /= 2;
  const down = 256 / across;
  const grid = [Math.ceil(count / down), Math.min(16, Math.ceil(units / (4 * across)))] as const;
  backend.launch(kernel, grid, [across, down], [from, backend.address(rows), to, count, units]);
  return y;
}

/**
 * @param dy [R, n]. @param rows int32 [R].
 * @returns [total, n] owned by the caller: dy's rows added up where `rows` says, in their order.
 */
export function gatherRowsGrad(backend: CudaBackend, dy: Info, rows: Info, total: number): Info {
  const [count, n] = dy.shape as [number, number];
  const X = typeOf(backend, dy);
  return inScope(backend, (scope) => {
    const from = scope.address(dy, X);
    const dx = scope.output([total, n], 'float32', X);
    if (count === 0) {
      backend.clear(dx);
      return dx;
    }
    if (n === 0) return dx;
    const to = backend.address(dx);
    const kernel = backend.kernel('gather-rows', 'gather_rows_grad', 'pppiii', { X: C_TYPE[X] });
    backend.launch(kernel, [total], [256], [from, backend.address(rows), to, count, n, aligned(n, from, to)]);
    return dx;
  });
}

/** Rows [0, at) and [at, T) of x as views of it, owned by the caller. */
export function splitRows(backend: CudaBackend, x: Info, at: number): [Info, Info] {
  const [rows, n] = x.shape as [number, number];
  return [backend.view(x, [at, n]), backend.view(x, [rows - at, n], at * n)];
}

/** first [D, n] above second [S, n]; owned by the caller. Copies nothing where they lie so already, or one of them is empty. */
export function joinRows(backend: CudaBackend, first: Info, second: Info): Info {
  const [above, n] = first.shape as [number, number];
  const below = second.shape[0]!;
  const shape = [above + below, n];
  const [firstType, secondType] = [backend.physical(first), backend.physical(second)];
  if (below === 0 || n === 0) return backend.share(first, shape);
  if (above === 0) return backend.share(second, shape);
  if (firstType !== secondType) {
    return inScope(backend, (scope) => {
      const both = [first, second].map((info) => scope.temporary(backend.as(info, 'f32')));
      return joinRows(backend, both[0]!, both[1]!);
    });
  }
  const bytes = n * BYTES[firstType];
  const [a, b] = [backend.address(first), backend.address(second)];
  const sameBlock = backend.data.get(first.dataId).block === backend.data.get(second.dataId).block;
  if (sameBlock && a + above * bytes === b) return backend.view(first, shape);
  const y = backend.output(shape, first.dtype, firstType);
  const to = backend.address(y);
  const unit = unitOf(above * bytes, below * bytes, a, b, to);
  const units = (shape[0]! * bytes) / unit;
  const kernel = backend.kernel('gather-rows', 'join_rows', 'pppll', { UNIT: unit });
  const grid = [Math.min(16 * backend.device.info.multiprocessors, Math.ceil(units / 256))] as const;
  backend.launch(kernel, grid, [256], [a, b, to, (above * bytes) / unit, units]);
  return y;
}

declareVariants('gather-rows', [...combinations({ UNIT: [1, 2, 4, 16] }), ...combinations({ X: FLOATS })]);

/** Kernels of the contract. */
export const rowsKernels = {
  SpftGatherRows: ({ backend, inputs: { x, rows } }) => gatherRows(backend, x, rows),
  SpftGatherRowsGrad: ({ backend, inputs: { dy, rows }, attributes: { total } }) =>
    gatherRowsGrad(backend, dy, rows, total),
  SpftSplitRows: ({ backend, inputs: { x }, attributes: { at } }) => splitRows(backend, x, at),
  SpftJoinRows: ({ backend, inputs: { first, second } }) => joinRows(backend, first, second),
} satisfies CudaKernels;
