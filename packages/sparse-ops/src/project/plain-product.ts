/** @file Products with a plain matrix by whatever kernel the active backend has, without gradients of their own: what forms multiply by when they have unpacked. */
import * as tf from '@tensorflow/tfjs';
import { matMul2d } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';

/** x·Wᵀ + b. @param weight [out, in]. @returns [T, out], owned by the caller. */
export const timesPlain = (x: tf.Tensor2D, weight: tf.Tensor2D, bias: tf.Tensor1D | null): tf.Tensor2D =>
  runOp('SpftLinear', { x, weight, ...(bias && { bias }) }, {}, () => {
    const product = matMul2d(x, weight, false, true);
    return bias ? (tf.add(product, bias) as tf.Tensor2D) : product;
  });

/** dy·W. @param weight [out, in]. @returns [T, in], owned by the caller. */
export const timesPlainTransposed = (dy: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D =>
  runOp('SpftLinearGrad', { dy, weight }, {}, () => matMul2d(dy, weight));
