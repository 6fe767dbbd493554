/** @file Columns rescaled to DoRA's magnitudes, without a gradient of its own: for use inside ops. */
import * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';

/** z ⊙ magnitude / norms [T, out], zero where a norm is; owned by the caller. */
export function rescaleColumns(z: tf.Tensor2D, magnitude: tf.Tensor1D, norms: tf.Tensor1D): tf.Tensor2D {
  return runOp('SpftRescaleColumns', { z, magnitude, norms }, {}, () => tf.mul(z, tf.divNoNan(magnitude, norms)));
}
