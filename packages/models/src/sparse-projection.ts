/**
 * @file Frozen products in which dense rows use every channel and sparse rows the kept ones (SparseLoRA section 3).
 *
 * For adapters that are no plain LoRA branch, for masks, and for `compat: 'reference'`; the usual case is `projectRows`, `projectColumns` and
 * `gatedMlp` of sparse-ops. Rows come in the layout's row order, so the two kinds are two contiguous slices. `cut` is `compat: 'reference'`: the original scatters
 * and gathers its sparse products without gradient tracking (upstream `spft/modules/linear.py`), so they count in the forward alone.
 */
import {
  type ChannelSelection,
  gatherColumns,
  joinSlices,
  linearKeptColumns,
  linearKeptRows,
  noGradient,
  type RowSlices,
  scatterColumns,
} from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import type { LinearLayer } from './linear-layer.js';

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
