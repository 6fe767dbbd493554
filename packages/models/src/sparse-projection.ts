/**
 * @file Frozen products in which dense rows use every channel and sparse rows the kept ones (SparseLoRA section 3).
 *
 * For adapters that are no plain LoRA branch, for masks, and for gradients that are not the exact one; the usual case is `projectRows`,
 * `projectColumns` and `gatedMlp` of sparse-ops. Rows come in the layout's row order, so the two kinds are two contiguous slices.
 */

import type { SparseGradient } from '@spft/estimator';
import {
  type ChannelSelection,
  gatherColumns,
  linearKeptColumns,
  linearKeptRows,
  noGradient,
  scatterColumns,
} from '@spft/sparse-ops';
import { frozenGradient, joinSlices, outliving, type RowSlices } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { LinearLayer } from './linear-layer.js';

/**
 * A sparse product with the gradient that is asked for. `cut`: it counts in the forward alone, as upstream's scatters and gathers without gradient
 * tracking have it (`spft/modules/linear.py`). `straight_through`: that of the whole frozen product.
 * @param product of x [n, in] with some channels of the weight [out, in].
 */
export function withGradient(
  gradient: SparseGradient,
  x: tf.Tensor2D,
  weight: tf.Tensor2D,
  product: (x: tf.Tensor2D) => tf.Tensor2D,
): tf.Tensor2D {
  if (gradient === 'exact') return product(x);
  if (gradient === 'cut') return noGradient(() => product(x));
  const frozen = outliving([weight]);
  const op = tf.customGrad((x, save) => {
    const value = noGradient(() => product(x as tf.Tensor2D));
    (save as tf.GradSaveFunc)(frozen.saves);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) =>
      frozenGradient(dy as tf.Tensor2D, frozen.from(saved)(weight));
    return { value, gradFunc };
  });
  return op(x) as tf.Tensor2D;
}

/** [T, out] of q, k, v, or a gate of full width: sparse rows have the kept output channels (`keep`), the dropped ones zero. */
export function projectKeptRows(
  layer: LinearLayer,
  x: RowSlices,
  keep: ChannelSelection | null,
  gradient: SparseGradient,
): tf.Tensor2D {
  if (keep === null) return layer.base(x.all);
  return joinSlices(
    x,
    (rows) => layer.base(rows),
    (rows) =>
      withGradient(gradient, rows, layer.weight, (rows) =>
        scatterColumns(linearKeptRows(rows, layer.weight, keep, layer.bias), keep),
      ),
  );
}

/** [T, out] of o or down: sparse rows use the kept input channels (`keep`) of x [T, in] alone. */
export function projectKeptColumns(
  layer: LinearLayer,
  x: RowSlices,
  keep: ChannelSelection | null,
  gradient: SparseGradient,
): tf.Tensor2D {
  if (keep === null) return layer.base(x.all);
  return joinSlices(
    x,
    (rows) => layer.base(rows),
    (rows) =>
      withGradient(gradient, rows, layer.weight, (rows) =>
        linearKeptColumns(gatherColumns(rows, keep), layer.weight, keep, layer.bias),
      ),
  );
}
