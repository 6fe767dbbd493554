/** @file The scores of several low-rank predictors of the same input (q, k and v of a layer), so that a backend can read it once. */
import type * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';
import { noGradient } from '../engine/tape.js';
import type { LowRankPair } from './gated-scores.js';
import { gramScores } from './gram-scores.js';

/**
 * @param x [T, in].
 * @param predictors each of any rank and number of channels.
 * @returns what `gramScores` gives for each of them, owned by the caller. Constant in gradients.
 * @throws RangeError when the shapes do not fit.
 */
export function gramScoresOfAll(x: tf.Tensor2D, predictors: readonly LowRankPair[]): tf.Tensor1D[] {
  const inputs: { x: tf.Tensor2D; [of: `a${number}` | `b${number}`]: tf.Tensor2D } = { x };
  predictors.forEach(({ a, b }, n) => {
    if (a.rank !== 2 || b.rank !== 2 || x.shape[1] !== a.shape[0] || a.shape[1] !== b.shape[0]) {
      throw new RangeError(
        `gramScoresOfAll: x [${x.shape}], a [${a.shape}] and b [${b.shape}] of predictor ${n} must be [T, in], [in, r] and [r, n]`,
      );
    }
    inputs[`a${n}`] = a;
    inputs[`b${n}`] = b;
  });
  return noGradient(() =>
    runOp('SpftGramScoresOfAll', inputs, { count: predictors.length }, () =>
      predictors.map(({ a, b }) => gramScores(x, a, b)),
    ),
  ) as tf.Tensor1D[];
}
