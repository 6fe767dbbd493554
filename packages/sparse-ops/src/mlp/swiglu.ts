/**
 * @file SwiGLU (Shazeer 2020, arXiv:2002.05202): silu(gate) ⊙ up, silu(z) = z·σ(z).
 *
 * Keeps gate and up for the backward and recomputes σ, as Liger does: a third [T, I] tensor would cost more than the sigmoid.
 */
import * as tf from '@tensorflow/tfjs';
import { runOp } from '../engine/op.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { swigluGradOnHost, swigluOnHost } from '../kernels/host/swiglu.js';

registerHostKernel('SpftSwiglu', swigluOnHost);
registerHostKernel('SpftSwigluGrad', swigluGradOnHost);

/**
 * @param gate [T, I].
 * @param up [T, I].
 * @returns [T, I], owned by the caller. Differentiable in both.
 * @throws RangeError when the shapes differ.
 */
export function swiglu(gate: tf.Tensor2D, up: tf.Tensor2D): tf.Tensor2D {
  if (gate.rank !== 2 || gate.shape[0] !== up.shape[0] || gate.shape[1] !== up.shape[1]) {
    throw new RangeError(`swiglu: gate [${gate.shape}] and up [${up.shape}] must both be [T, I]`);
  }
  const op = tf.customGrad((...args) => {
    const [gate, up, save] = args as unknown as [tf.Tensor, tf.Tensor, tf.GradSaveFunc];
    const value = runOp('SpftSwiglu', { gate, up }, {}, () => tf.mul(tf.mul(gate, tf.sigmoid(gate)), up));
    save([gate, up]);
    const gradFunc = (dy: tf.Tensor, [gate, up]: tf.Tensor[]) =>
      runOp('SpftSwigluGrad', { gate: gate!, up: up!, dy }, {}, () => {
        const sigmoid = tf.sigmoid(gate!);
        const silu = tf.mul(gate!, sigmoid);
        // silu' = σ + z·σ·(1 − σ) = σ + silu − silu·σ
        const slope = tf.add(sigmoid, tf.sub(silu, tf.mul(silu, sigmoid)));
        return [tf.mul(tf.mul(dy, up!), slope), tf.mul(dy, silu)];
      });
    return { value, gradFunc };
  });
  return op(gate, up) as tf.Tensor2D;
}
