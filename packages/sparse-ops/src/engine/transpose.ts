/** @file Transpose of a matrix without a gradient of its own: for use inside ops. */
import * as tf from '@tensorflow/tfjs';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { transposeOnHost } from '../kernels/host/transpose.js';
import { runOp } from './op.js';

export const TRANSPOSE_2D = 'SpftTranspose2d';
registerHostKernel(TRANSPOSE_2D, transposeOnHost);

/** @returns [n, m], owned by the caller. Not differentiable. */
export function transpose2d(x: tf.Tensor2D): tf.Tensor2D {
  return runOp(TRANSPOSE_2D, { x }, {}, () => {
    const [rows, columns] = x.shape;
    if (rows > 1 && columns > 1) return tf.transpose(x);
    // A column is a row already, but not to XNNPACK: it keeps what it packed of a right operand by the memory that tensors share.
    return tf.add(tf.reshape(x, [columns, rows]), 0);
  });
}
