/**
 * @file Cross-entropy of logits that exist: Σᵣ −log softmax(z)[r, label], for heads that are trained or adapted, whose logits are a tensor of the
 * tape. Where the head is frozen, linear-cross-entropy.ts does without them.
 */
import * as tf from '@tensorflow/tfjs';
import { isRecording, noGradient } from '../engine/tape.js';

export interface LogitsCrossEntropyOptions {
  /** Share ε of each label that is spread over the whole vocabulary (transformers' `LabelSmoother`): 0 ≤ ε < 1. Default 0. */
  readonly labelSmoothing?: number;
}

/**
 * @param logits [R, V].
 * @param labels int32 [R], each in [0, V): one outside gives a wrong loss, as checking would read it back.
 * @returns the summed loss (scalar), owned by the caller. Differentiable in the logits; their gradient is made here and kept for the backward.
 * @throws RangeError when the shapes do not fit; TypeError when labels are not int32.
 */
export function logitsCrossEntropy(
  logits: tf.Tensor2D,
  labels: tf.Tensor1D,
  { labelSmoothing = 0 }: LogitsCrossEntropyOptions = {},
): tf.Scalar {
  if (logits.rank !== 2 || labels.rank !== 1 || labels.shape[0] !== logits.shape[0]) {
    throw new RangeError(
      `logitsCrossEntropy: logits [${logits.shape}] must be [R, V] and labels [${labels.shape}] [R]`,
    );
  }
  if (labels.dtype !== 'int32') throw new TypeError(`logitsCrossEntropy: labels are ${labels.dtype}, must be int32`);
  if (logits.shape[0] === 0) return tf.tidy(() => tf.sum(logits) as tf.Scalar);
  const withGradient = isRecording();
  const [loss, dz] = noGradient(() => lossAndGradient(logits, labels, labelSmoothing, withGradient));
  if (!dz) return loss as tf.Scalar;
  const op = tf.customGrad((_, save) => {
    (save as tf.GradSaveFunc)([dz]);
    return { value: tf.clone(loss!), gradFunc: (dy: tf.Tensor, [dz]: tf.Tensor[]) => tf.mul(dz!, dy) };
  });
  const value = op(logits) as tf.Scalar;
  tf.dispose([loss!, dz]);
  return value;
}

function lossAndGradient(z: tf.Tensor2D, labels: tf.Tensor1D, epsilon: number, withGradient: boolean): tf.Tensor[] {
  return tf.tidy(() => {
    const vocabSize = z.shape[1];
    // Cast rather than asked for as float32, which the wasm backend's OneHot does not heed.
    const oneHot = tf.cast(tf.oneHot(labels, vocabSize), 'float32');
    const wanted = epsilon === 0 ? oneHot : tf.add(tf.mul(oneHot, 1 - epsilon), epsilon / vocabSize);
    const p = tf.softmax(z);
    // log Σ exp(z) at the largest, whose probability is at least 1/V: nothing underflows.
    const logSum = tf.sub(tf.max(z, 1), tf.log(tf.max(p, 1)));
    const loss = tf.sub(tf.sum(logSum), tf.sum(tf.mul(z, wanted)));
    return withGradient ? [loss, tf.sub(p, wanted)] : [loss];
  });
}
