/** @file Norm of all gradients together, and the factor by which clipping scales them. Nothing is read back to the host. */
import * as tf from '@tensorflow/tfjs';
import { addAll } from '../engine/add-all.js';
import { namesOf } from '../engine/names.js';
import { runOp } from '../engine/op.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { globalNormOnHost } from '../kernels/host/optimizer-update.js';

registerHostKernel('SpftGlobalNorm', globalNormOnHost);

/**
 * √(Σ of the squares of every element of every tensor).
 * @returns a scalar owned by the caller; 0 for no tensors.
 */
export function globalNorm(tensors: readonly tf.Tensor[]): tf.Scalar {
  if (tensors.length === 0) return tf.scalar(0);
  const named: Record<string, tf.Tensor> = {};
  const names = namesOf('t', tensors.length);
  for (let n = 0; n < tensors.length; n++) named[names[n]!] = tensors[n]!;
  return runOp('SpftGlobalNorm', named, { count: tensors.length }, () => {
    const squares = tensors.map((t) => tf.sum(tf.square(t)));
    return tf.sqrt(addAll(squares)) as tf.Scalar;
  });
}

/**
 * min(1, maxNorm / (norm + 1e-6)), as PyTorch's `clip_grad_norm_`.
 * @param norm of `globalNorm`; not disposed here.
 * @returns a scalar owned by the caller. Not finite when the norm is not.
 */
export function clipScale(norm: tf.Scalar, maxNorm: number): tf.Scalar {
  if (!(maxNorm > 0)) throw new RangeError(`clipScale: maxNorm is ${maxNorm}; it must be positive`);
  return tf.tidy(() => tf.minimum(tf.div(maxNorm, tf.add(norm, 1e-6)), 1) as tf.Scalar);
}
