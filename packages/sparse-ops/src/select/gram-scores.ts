/**
 * @file Scores of a low-rank predictor without its product: ‖(x·A·B)ⱼ‖ over tokens is √(Bⱼᵀ(PᵀP)Bⱼ) with P = x·A (DESIGN section 4).
 *
 * T·r·r + r·r·n multiplications instead of T·r·n, and nothing of size T·n.
 */
import * as tf from '@tensorflow/tfjs';
import { matMul2d } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { outliving } from '../engine/outliving.js';
import { checkMatrix } from './selection.js';

/**
 * @param x [T, in].
 * @param a [in, r], frozen.
 * @param b [r, n], frozen.
 * @returns [n] L2 norm over tokens of each column of x·a·b, owned by the caller. Differentiable in x; zero where a norm is.
 * @throws RangeError when the shapes do not fit.
 */
export function gramScores(x: tf.Tensor2D, a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor1D {
  checkMatrix('gramScores', 'x', x);
  if (a.rank !== 2 || b.rank !== 2 || x.shape[1] !== a.shape[0] || a.shape[1] !== b.shape[0]) {
    throw new RangeError(
      `gramScores: x [${x.shape}], a [${a.shape}] and b [${b.shape}] must be [T, in], [in, r] and [r, n]`,
    );
  }
  const frozen = outliving([a, b]);
  const op = tf.customGrad((input, save) => {
    const x = input as tf.Tensor2D;
    const value = runOp('SpftGramScores', { x, a, b }, {}, () => {
      const p = matMul2d(x, a);
      const squares = tf.sum(tf.mul(b, matMul2d(matMul2d(p, p, true, false), b)), 0);
      // Rounding may leave a zero norm slightly below zero.
      return tf.sqrt(tf.relu(squares)) as tf.Tensor1D;
    });
    (save as tf.GradSaveFunc)([x, value, ...frozen.saves]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, scores] = saved as [tf.Tensor2D, tf.Tensor1D];
      const living = frozen.from(saved.slice(2));
      const [A, B] = [living(a), living(b)];
      return runOp('SpftGramScoresGrad', { x, a: A, b: B, scores, dy }, {}, () => {
        const weighted = tf.mul(B, tf.divNoNan(dy, scores)) as tf.Tensor2D;
        const dp = matMul2d(matMul2d(x, A), matMul2d(weighted, B, false, true));
        return matMul2d(dp, A, false, true);
      });
    };
    return { value, gradFunc };
  });
  return op(x) as tf.Tensor1D;
}
