/** @file Rows by index, and their gradient. */

import type * as tf from '@tensorflow/tfjs';
import type { CudaBackend } from '../../backend.js';
import { aligned, inScope, typeOf } from '../../shared/tensors.js';
import { unitOf } from '../../shared/units.js';
import { combinations, declareVariants, FLOATS } from '../../shared/variants.js';
import { BYTES, C_TYPE } from '../../storage.js';

type Info = tf.TensorInfo;

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

declareVariants('gather-rows', [...combinations({ UNIT: [1, 2, 4, 16] }), ...combinations({ X: FLOATS })]);
