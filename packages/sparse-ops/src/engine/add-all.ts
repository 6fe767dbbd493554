/**
 * @file The sum of any number of tensors, with no kernel of more inputs than every backend takes: WebGPU promises eight buffers to a shader, one of
 * which is the result, and tfjs's `addN` of more than seven tensors gives zeros there.
 */
import * as tf from '@tensorflow/tfjs';

/** Inputs of one kernel at most. tfjs itself divides `concat` and `stack`. */
export const MOST_INPUTS = 7;

/** Σ of tensors of one shape, at least one; owned by the caller. */
export function addAll<T extends tf.Tensor>(tensors: readonly T[]): T {
  return tf.tidy(() => {
    let left: readonly T[] = tensors;
    while (left.length > MOST_INPUTS) {
      const groups = Array.from({ length: Math.ceil(left.length / MOST_INPUTS) }, (_, n) =>
        left.slice(n * MOST_INPUTS, (n + 1) * MOST_INPUTS),
      );
      left = groups.map((group) => tf.addN(group));
    }
    return tf.addN([...left]);
  });
}
