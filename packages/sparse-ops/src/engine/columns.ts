/**
 * @file Moves of columns without gradients of their own, for use inside ops: each is the gradient of the other.
 */
import * as tf from '@tensorflow/tfjs';
import { gatherColumnsOnHost, gatherColumnsTransposedOnHost, scatterColumnsOnHost } from '../kernels/host/columns.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { runOp } from './op.js';
import { transpose2d } from './transpose.js';

registerHostKernel('SpftGatherColumns', gatherColumnsOnHost);
registerHostKernel('SpftGatherColumnsTransposed', gatherColumnsTransposedOnHost);
registerHostKernel('SpftScatterColumns', scatterColumnsOnHost);

/** @returns [T, kept], owned by the caller. */
export function takeColumns(x: tf.Tensor2D, indices: tf.Tensor1D): tf.Tensor2D {
  return runOp('SpftGatherColumns', { x, indices }, {}, () =>
    x.size === 0 || indices.size === 0
      ? tf.zeros([x.shape[0], indices.shape[0]])
      : (tf.gather(x, indices, 1) as tf.Tensor2D),
  );
}

/** @returns [kept, T], owned by the caller: what a plain product wants of a weight [out, in] whose inputs are selected. */
export function takeColumnsTransposed(x: tf.Tensor2D, indices: tf.Tensor1D): tf.Tensor2D {
  return runOp('SpftGatherColumnsTransposed', { x, indices }, {}, () => transpose2d(takeColumns(x, indices)));
}

/** @returns [T, total], owned by the caller. */
export function putColumns(x: tf.Tensor2D, indices: tf.Tensor1D, total: number): tf.Tensor2D {
  return runOp('SpftScatterColumns', { x, indices }, { total }, () => {
    const rows = x.shape[0];
    if (x.size === 0) return tf.zeros([rows, total]);
    // ScatterNd places rows, not columns.
    const scattered = tf.scatterND(tf.expandDims(indices, 1), transpose2d(x), [total, rows]);
    return transpose2d(scattered as tf.Tensor2D);
  });
}
