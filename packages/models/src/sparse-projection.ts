/**
 * @file Frozen products in which dense rows use every channel and sparse rows the kept ones (SparseLoRA section 3).
 *
 * Rows come in the layout's row order, so the two kinds are two contiguous slices. `cut` is `compat: 'reference'`: the original scatters
 * and gathers its sparse products without gradient tracking (upstream `spft/modules/linear.py`), so they count in the forward alone.
 */
import {
  type ChannelSelection,
  gatherColumns,
  joinRows,
  linearKeptColumns,
  linearKeptRows,
  noGradient,
  type PackedLayout,
  scatterColumns,
  splitRows,
} from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import type { LinearLayer } from './linear-layer.js';

/** An activation [T, n] whole and as its dense [D, n] and sparse [T − D, n] rows; null for a slice without rows. */
export interface RowSlices {
  readonly all: tf.Tensor2D;
  readonly dense: tf.Tensor2D | null;
  readonly sparse: tf.Tensor2D | null;
}

export function sliceRows(x: tf.Tensor2D, { denseTokens: D, tokens: T }: PackedLayout): RowSlices {
  if (D === T) return { all: x, dense: x, sparse: null };
  if (D === 0) return { all: x, dense: null, sparse: x };
  const [dense, sparse] = splitRows(x, D);
  return { all: x, dense, sparse };
}

/** [T, n] from the slices; `make` computes one that has rows. */
export function joinSlices(
  x: RowSlices,
  makeDense: (rows: tf.Tensor2D) => tf.Tensor2D,
  makeSparse: (rows: tf.Tensor2D) => tf.Tensor2D,
): tf.Tensor2D {
  if (x.sparse === null) return makeDense(x.all);
  if (x.dense === null) return makeSparse(x.all);
  return joinRows(makeDense(x.dense), makeSparse(x.sparse));
}

const tracked = <T extends tf.Tensor>(cut: boolean, f: () => T): T => (cut ? noGradient(f) : f());

/** [T, out] of q, k, v, or a gate of full width: sparse rows have the kept output channels (`keep`), the dropped ones zero. */
export function projectKeptRows(
  layer: LinearLayer,
  x: RowSlices,
  keep: ChannelSelection | null,
  cut: boolean,
): tf.Tensor2D {
  if (keep === null) return layer.base(x.all);
  return joinSlices(
    x,
    (rows) => layer.base(rows),
    (rows) => tracked(cut, () => scatterColumns(linearKeptRows(rows, layer.weight, keep, layer.bias), keep)),
  );
}

/** [T, out] of o or down: sparse rows use the kept input channels (`keep`) of x [T, in] alone. */
export function projectKeptColumns(
  layer: LinearLayer,
  x: RowSlices,
  keep: ChannelSelection | null,
  cut: boolean,
): tf.Tensor2D {
  if (keep === null) return layer.base(x.all);
  return joinSlices(
    x,
    (rows) => layer.base(rows),
    (rows) => tracked(cut, () => linearKeptColumns(gatherColumns(rows, keep), layer.weight, keep, layer.bias)),
  );
}
