/** @file Scores of a gated MLP's channels by two low-rank predictors: the norm over rows of silu(x·Aᵍ·Bᵍ) ⊙ (x·Aᵘ·Bᵘ). */
import * as tf from '@tensorflow/tfjs';
import { columnDots } from '../engine/column-dots.js';
import { matMul2d } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import { checkMatrix } from './selection.js';

/** Of a projection: Wᵀ ≈ a·b. */
export interface LowRankPair {
  /** [in, r]. */
  readonly a: tf.Tensor2D;
  /** [r, n]. */
  readonly b: tf.Tensor2D;
}

/**
 * @param x [B, in], e.g. the mean token of each sequence.
 * @param gate of the gate projection.
 * @param up of the up projection, of the same rank.
 * @returns [n] L2 norm over rows of each channel's estimated activation, owned by the caller. Constant in gradients.
 * @throws RangeError when the shapes do not fit.
 */
export function gatedScores(x: tf.Tensor2D, gate: LowRankPair, up: LowRankPair): tf.Tensor1D {
  checkPredictors('gatedScores', x, gate, up);
  return noGradient(() => {
    const composition = () => {
      const estimate = ({ a, b }: LowRankPair) => matMul2d(matMul2d(x, a), b);
      const g = estimate(gate);
      const activation = tf.mul(tf.mul(g, tf.sigmoid(g)), estimate(up)) as tf.Tensor2D;
      return tf.sqrt(columnDots(activation, activation)) as tf.Tensor1D;
    };
    // Kernels may take it that both are of one rank.
    if (gate.a.shape[1] !== up.a.shape[1]) return tf.tidy(composition);
    const inputs = { x, gateA: gate.a, gateB: gate.b, upA: up.a, upB: up.b };
    return runOp('SpftGatedScores', inputs, {}, composition);
  });
}

/** @throws RangeError unless both predict of rows like those of x [·, in], and the same number of channels. */
export function checkPredictors(op: string, x: tf.Tensor2D, gate: LowRankPair, up: LowRankPair): void {
  checkMatrix(op, 'x', x);
  const fits =
    [gate, up].every(({ a, b }) => a.shape[0] === x.shape[1] && a.shape[1] === b.shape[0]) &&
    gate.b.shape[1] === up.b.shape[1];
  if (!fits) {
    const shapes = [gate, up].map(({ a, b }) => `[${a.shape}] and [${b.shape}]`);
    throw new RangeError(
      `${op}: x [${x.shape}], gate ${shapes[0]}, up ${shapes[1]} must be [B, in], [in, r] and [r, n], and the same of up`,
    );
  }
}
