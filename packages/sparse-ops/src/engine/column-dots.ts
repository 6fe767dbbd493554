/** @file Σₜ a[t, c]·b[t, c] for each column, without a gradient of its own: for use inside ops. */
import * as tf from '@tensorflow/tfjs';
import { columnDotsOnHost } from '../kernels/host/column-dots.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { runOp } from './op.js';

registerHostKernel('SpftColumnDots', columnDotsOnHost);

/** @returns [n], owned by the caller. */
export function columnDots(a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor1D {
  return runOp('SpftColumnDots', { a, b }, {}, () =>
    a.size === 0 ? (tf.zeros([a.shape[1]]) as tf.Tensor1D) : (tf.sum(tf.mul(a, b), 0) as tf.Tensor1D),
  );
}
