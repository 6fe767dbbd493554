/** @file Rows of a matrix by index: embedding rows, rows that have a label, rows of a weight. */
import * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';
import { storedMatrixOf } from '../forms/stored-matrix.js';
import { gatherRowsOnHost, scatterAddRowsOnHost } from '../kernels/host/gather-rows.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { checkMatrix } from '../select/selection.js';

registerHostKernel('SpftGatherRows', gatherRowsOnHost);
registerHostKernel('SpftGatherRowsGrad', scatterAddRowsOnHost);

/** The rows without a gradient: for use inside ops. @returns [R, n], owned by the caller. */
export function takeRows(x: tf.Tensor2D, rows: tf.Tensor1D): tf.Tensor2D {
  const stored = storedMatrixOf(x);
  if (stored) return stored.rows(rows);
  return runOp('SpftGatherRows', { x, rows }, {}, () =>
    x.size === 0 || rows.size === 0 ? tf.zeros([rows.shape[0], x.shape[1]]) : (tf.gather(x, rows) as tf.Tensor2D),
  );
}

/**
 * @param x [M, n].
 * @param rows int32 [R], each in [0, M), repeats allowed: not checked, as that would read them back. On backends that record steps −1 is a row of
 * zeros that no gradient flows into. Must live until the gradient has been taken.
 * @returns [R, n], owned by the caller. Differentiable in x: gradients of a row named twice add up.
 * @throws RangeError or TypeError when x is no matrix or rows no int32 list.
 */
export function gatherRows(x: tf.Tensor2D, rows: tf.Tensor1D): tf.Tensor2D {
  checkMatrix('gatherRows', 'x', x);
  if (rows.rank !== 1) throw new RangeError(`gatherRows: rows [${rows.shape}] must have one dimension`);
  if (rows.dtype !== 'int32') throw new TypeError(`gatherRows: rows are ${rows.dtype}, must be int32`);
  const [total, n] = x.shape;
  const op = tf.customGrad((x, save) => {
    const value = takeRows(x as tf.Tensor2D, rows);
    (save as tf.GradSaveFunc)([rows]);
    return {
      value,
      gradFunc: (dy: tf.Tensor, saved: tf.Tensor[]) => {
        const rows = saved[0]!;
        return runOp('SpftGatherRowsGrad', { dy, rows }, { total }, () =>
          dy.size === 0 ? tf.zeros([total, n]) : tf.scatterND(tf.expandDims(rows, 1), dy, [total, n]),
        );
      },
    };
  });
  return op(x) as tf.Tensor2D;
}
