/** @file Transpose of a matrix without a gradient of its own: for use inside ops. */
import * as tf from '@tensorflow/tfjs';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { transposeOnHost } from '../kernels/host/transpose.js';
import { runOp } from './op.js';

registerHostKernel('SpftTranspose2d', transposeOnHost);

/** @returns [n, m], owned by the caller. Not differentiable. */
export function transpose2d(x: tf.Tensor2D): tf.Tensor2D {
  return runOp('SpftTranspose2d', { x }, {}, () => {
    const [rows, columns] = x.shape;
    if (rows > 1 && columns > 1) return tf.transpose(x);
    // A column is a row already, but not to XNNPACK: it keeps what it packed of a right operand by the memory that tensors share.
    return tf.add(tf.reshape(x, [columns, rows]), 0);
  });
}
