/**
 * @file Inverted dropout (Srivastava et al. 2014) whose mask is a function of the seed: the same on every backend and in every repetition.
 */
import * as tf from '@tensorflow/tfjs';
import type { SeedPlace } from '../contract/types.js';
import { runOp } from '../engine/op.js';
import { dropInto, dropoutOnHost } from '../kernels/host/dropout.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';

registerHostKernel('SpftDropout', dropoutOnHost);

function drop(x: tf.Tensor, rate: number, seed: number, seedAt: SeedPlace | undefined): tf.Tensor {
  return runOp('SpftDropout', { x }, { rate, seed, ...(seedAt && { seedAt }) }, () => {
    const mask = new Float32Array(x.size);
    dropInto(mask, new Float32Array(x.size).fill(1), rate, seed);
    return tf.mul(x, tf.tensor(mask, x.shape));
  });
}

/**
 * @param x any shape.
 * @param rate probability that an element becomes 0, 0 ≤ rate < 1; the others are multiplied by 1/(1 − rate).
 * @param seed 32-bit integer; the same seed and number of elements give the same mask.
 * @param seedAt where the same seed is in an input of a recorded step: a backend that records reads it there.
 * @returns of x's shape, owned by the caller. Differentiable in x.
 * @throws RangeError when rate is out of range or seed no whole number.
 */
export function dropout<T extends tf.Tensor>(x: T, rate: number, seed: number, seedAt?: SeedPlace): T {
  if (!(rate >= 0 && rate < 1)) throw new RangeError(`dropout: rate is ${rate}, must be at least 0 and below 1`);
  if (!Number.isSafeInteger(seed)) throw new RangeError(`dropout: seed is ${seed}, must be a whole number`);
  if (rate === 0) return tf.clone(x);
  const op = tf.customGrad((x) => ({
    value: drop(x as tf.Tensor, rate, seed, seedAt),
    gradFunc: (dy: tf.Tensor) => drop(dy, rate, seed, seedAt),
  }));
  return op(x) as T;
}
