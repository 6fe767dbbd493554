/**
 * @file LoRA (Hu et al. 2021, arXiv:2106.09685) on top of a base product: y = base + s·(x·Aᵀ)·Bᵀ.
 *
 * The base comes computed, sparse or not, so the adapter's branch stays dense whatever the base skipped (upstream
 * `sparse_lora_branch: false`). Kept for the backward: x and h = x·Aᵀ, which is T·r.
 */
import * as tf from '@tensorflow/tfjs';
import { tellOfGradients } from '../engine/gradient-listener.js';
import { matMul2d, thinProduct } from '../engine/matmul.js';
import { runOp } from '../engine/op.js';
import { isRecording, noGradient } from '../engine/tape.js';
import { checkMatrix } from '../select/selection.js';

/** @throws RangeError unless x [T, in], base [T, out], A [r, in], B [out, r] fit. */
export function checkLora(op: string, x: tf.Tensor2D, base: tf.Tensor2D, loraA: tf.Tensor2D, loraB: tf.Tensor2D): void {
  checkMatrix(op, 'x', x);
  checkMatrix(op, 'base', base);
  const fits =
    loraA.rank === 2 &&
    loraB.rank === 2 &&
    x.shape[0] === base.shape[0] &&
    x.shape[1] === loraA.shape[1] &&
    base.shape[1] === loraB.shape[0] &&
    loraA.shape[0] === loraB.shape[1];
  if (!fits) {
    throw new RangeError(
      `${op}: x [${x.shape}], base [${base.shape}], loraA [${loraA.shape}] and loraB [${loraB.shape}] must be [T, in], [T, out], [r, in] ` +
        'and [out, r]',
    );
  }
}

/**
 * @param x [T, in].
 * @param base [T, out] what the frozen layer gave for x.
 * @param loraA [r, in].
 * @param loraB [out, r].
 * @param scaling s, alpha/r in LoRA.
 * @returns [T, out], owned by the caller. Differentiable in x, base, loraA and loraB.
 * @throws RangeError when the shapes do not fit.
 */
export function loraLinear(
  x: tf.Tensor2D,
  base: tf.Tensor2D,
  loraA: tf.Tensor2D,
  loraB: tf.Tensor2D,
  scaling: number,
): tf.Tensor2D {
  checkLora('loraLinear', x, base, loraA, loraB);
  const [y, h] = noGradient(() =>
    runOp('SpftLoraLinear', { x, base, loraA, loraB }, { scaling }, () => {
      const h = matMul2d(x, loraA, false, true);
      return [tf.add(base, matMul2d(tf.mul(h, scaling), loraB, false, true)), h];
    }),
  ) as [tf.Tensor2D, tf.Tensor2D];
  if (!isRecording()) {
    h.dispose();
    return y;
  }
  // What comes back when the gradient is taken is a copy of them.
  const [variableA, variableB] = [loraA, loraB];
  // An op has one output and keeps nothing else that it made, so h is made before and this op only hands y on.
  const op = tf.customGrad((...args) => {
    const [x, , loraA, loraB, save] = args as unknown as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    save([x, h, loraA, loraB]);
    const gradFunc = (dy: tf.Tensor, saved: tf.Tensor[]) => {
      const [x, h, loraA, loraB] = saved as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
      const [dx, dA, dB] = runOp('SpftLoraLinearGrad', { x, h, loraA, loraB, dy }, { scaling }, () => {
        const dh = tf.mul(matMul2d(dy as tf.Tensor2D, loraB), scaling) as tf.Tensor2D;
        const dB = matMul2d(dy as tf.Tensor2D, tf.mul(h, scaling), true, false);
        return [matMul2d(dh, loraA), thinProduct(dh, x), dB];
      });
      tellOfGradients({ loraA: variableA, loraB: variableB }, { loraA: dA!, loraB: dB! });
      return [dx!, tf.clone(dy), dA!, dB!];
    };
    return { value: tf.clone(y), gradFunc };
  });
  const value = op(x, base, loraA, loraB) as tf.Tensor2D;
  tf.dispose([y, h]);
  return value;
}
