/** @file Rows by index, and their gradient. */

import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { unitOf } from '../../shared/units.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { BYTES, C_TYPE } from '../../storage.js';

type Info = tf.TensorInfo;

/**
 * @param x [M, n]. @param rows int32 [R].
 * @returns x[rows] [R, n], owned by the caller.
 */
export function gatherRows(backend: CudaBackend, x: Info, rows: Info): Info {
  const y = backend.output([rows.shape[0]!, x.shape[1]!], x.dtype, backend.physical(x));
  gatherRowsTo(backend, x, rows, backend.address(y));
  return y;
}

/** The same into a matrix of x's type at an address. */
export function gatherRowsTo(backend: CudaBackend, x: Info, rows: Info, to: number): void {
  gatherTo(backend, [x], rows, to);
}

/** Rows of two matrices of one shape and type one below the other, [R + R, n], by one launch; owned by the caller. */
export function gatherRowsOfTwo(backend: CudaBackend, one: Info, other: Info, rows: Info): Info {
  const y = backend.output([2 * rows.shape[0]!, one.shape[1]!], one.dtype, backend.physical(one));
  gatherTo(backend, [one, other], rows, backend.address(y));
  return y;
}

function gatherTo(backend: CudaBackend, of: readonly [Info] | readonly [Info, Info], rows: Info, to: number): void {
  const n = of[0].shape[1]!;
  const count = rows.shape[0]!;
  const bytes = n * BYTES[backend.physical(of[0])];
  const from = of.map((x) => backend.address(x));
  const unit = unitOf(bytes, ...from, to);
  const units = bytes / unit;
  if (count === 0 || units === 0) return;
  const two = of.length === 2;
  const kernel = backend.kernel('gather-rows', two ? 'gather_rows_of_two' : 'gather_rows', two ? 'ppppil' : 'pppil', {
    UNIT: unit,
  });
  let across = 256;
  while (across > 1 && across * 2 >= units) across /= 2;
  const down = 256 / across;
  const grid = [Math.ceil(count / down), Math.min(16, Math.ceil(units / (4 * across))), of.length] as const;
  backend.launch(kernel, grid, [across, down], [...from, backend.address(rows), to, count, units]);
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

declareVariants('gather-rows', [...combinations({ UNIT: [1, 2, 4, 16] }), ...combinations({ X: FLOATS })]);
