/** @file A tensor that counts as constant in gradients. */
import type * as tf from '@tensorflow/tfjs';
import { noGradient } from './tape.js';
import { sharing } from './tfjs-kernels.js';

/** @returns x itself in value, sharing its memory, owned by the caller. No gradient flows through it. */
export function stopGradient<T extends tf.Tensor>(x: T): T {
  return noGradient(() => sharing(x));
}
