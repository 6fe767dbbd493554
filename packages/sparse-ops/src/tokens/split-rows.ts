/** @file The dense and the sparse rows of an activation apart, and together again; each is the other's gradient. */
import * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { joinRowsOnHost, splitRowsOnHost } from '../kernels/host/split-rows.js';
import { checkMatrix } from '../select/selection.js';

registerHostKernel('SpftSplitRows', splitRowsOnHost);
registerHostKernel('SpftJoinRows', joinRowsOnHost);

const split = (x: tf.Tensor2D, at: number): [tf.Tensor2D, tf.Tensor2D] =>
  runOp('SpftSplitRows', { x }, { at }, () => tf.split(x, [at, x.shape[0] - at])) as [tf.Tensor2D, tf.Tensor2D];

const join = (first: tf.Tensor2D, second: tf.Tensor2D): tf.Tensor2D =>
  runOp('SpftJoinRows', { first, second }, {}, () => tf.concat([first, second]));

// `tf.customGrad` takes ops of one output only: a gradient of two slices would be padded twice and added. So a kernel of 'SpftSplitRows' is
// recorded itself, with this gradient, and the composition is tf.split, whose gradient tfjs has.
tf.registerGradient({
  kernelName: 'SpftSplitRows',
  gradFunc: (dys) => ({ x: () => join(...(dys as unknown as [tf.Tensor2D, tf.Tensor2D])) }),
});

/**
 * @param x [T, n].
 * @param at D: rows before it come first, 0 to T.
 * @returns [D, n] and [T − D, n], owned by the caller. Differentiable in x.
 * @throws RangeError when `at` is no row.
 */
export function splitRows(x: tf.Tensor2D, at: number): [tf.Tensor2D, tf.Tensor2D] {
  checkMatrix('splitRows', 'x', x);
  if (!Number.isInteger(at) || at < 0 || at > x.shape[0]) {
    throw new RangeError(`splitRows: at is ${at}, must be a whole number from 0 to ${x.shape[0]}, the rows`);
  }
  return split(x, at);
}

/**
 * @param dense [D, n].
 * @param sparse [S, n].
 * @returns [D + S, n], owned by the caller. Differentiable in both.
 * @throws RangeError when the columns differ.
 */
export function joinRows(dense: tf.Tensor2D, sparse: tf.Tensor2D): tf.Tensor2D {
  checkMatrix('joinRows', 'dense', dense);
  checkMatrix('joinRows', 'sparse', sparse);
  if (dense.shape[1] !== sparse.shape[1]) {
    throw new RangeError(`joinRows: dense [${dense.shape}] and sparse [${sparse.shape}] must have as many columns`);
  }
  const op = tf.customGrad((...args) => {
    const [first, second] = args as unknown as [tf.Tensor2D, tf.Tensor2D];
    return { value: join(first, second), gradFunc: (dy: tf.Tensor) => split(dy as tf.Tensor2D, first.shape[0]) };
  });
  return op(dense, sparse) as tf.Tensor2D;
}
