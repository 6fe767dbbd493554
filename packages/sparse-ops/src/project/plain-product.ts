/** @file Products with a plain matrix by whatever kernel the active backend has, without gradients of their own: what forms multiply by when they have unpacked. */
import * as tf from '@tensorflow/tfjs';
import { matMul2d } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { storedMatrixOf } from '../forms/stored-matrix.js';

/** x·Wᵀ + b. @param weight [out, in]. @returns [T, out], owned by the caller. */
export const timesPlain = (x: tf.Tensor2D, weight: tf.Tensor2D, bias: tf.Tensor1D | null): tf.Tensor2D =>
  runOp('SpftLinear', { x, weight, ...(bias && { bias }) }, {}, () => {
    const product = matMul2d(x, weight, false, true);
    return bias ? (tf.add(product, bias) as tf.Tensor2D) : product;
  });

/** dy·W of a matrix in whatever form. @param weight [out, in]. @returns [T, in], owned by the caller. Not differentiable. */
export const frozenGradient = (dy: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D =>
  storedMatrixOf(weight)?.timesTransposed(dy) ?? timesPlainTransposed(dy, weight);

/** dy·W. @param weight [out, in]. @returns [T, in], owned by the caller. */
export const timesPlainTransposed = (dy: tf.Tensor2D, weight: tf.Tensor2D): tf.Tensor2D =>
  runOp('SpftLinearGrad', { dy, weight }, {}, () => matMul2d(dy, weight));
