/** @file An activation whose first rows are dense and whose others sparse, taken apart where there are both. */
import type * as tf from '@tensorflow/tfjs';
import { joinRows, splitRows } from './split-rows.js';

/** An activation [T, n] whole and as its dense [D, n] and sparse [T − D, n] rows; null for a slice without rows. */
export interface RowSlices {
  readonly all: tf.Tensor2D;
  readonly dense: tf.Tensor2D | null;
  readonly sparse: tf.Tensor2D | null;
}

/** @param denseRows D, 0 to T. */
export function sliceRows(x: tf.Tensor2D, denseRows: number): RowSlices {
  if (denseRows === x.shape[0]) return { all: x, dense: x, sparse: null };
  if (denseRows === 0) return { all: x, dense: null, sparse: x };
  const [dense, sparse] = splitRows(x, denseRows);
  return { all: x, dense, sparse };
}

/** [T, n] from the slices; `make…` compute those that have rows. Differentiable if they are. */
export function joinSlices(
  x: RowSlices,
  makeDense: (rows: tf.Tensor2D) => tf.Tensor2D,
  makeSparse: (rows: tf.Tensor2D) => tf.Tensor2D,
): tf.Tensor2D {
  if (x.sparse === null) return makeDense(x.all);
  if (x.dense === null) return makeSparse(x.all);
  return joinRows(makeDense(x.dense), makeSparse(x.sparse));
}
