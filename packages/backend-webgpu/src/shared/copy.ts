/** @file Copies of tensors on the device. */
import type * as tf from '@tensorflow/tfjs';
import { type Backend, forEach, output, sizeOf } from './call.js';

/** A new tensor with the same numbers. */
export function copyOf(backend: Backend, x: tf.TensorInfo): tf.TensorInfo {
  const y = output(backend, x.shape, x.dtype as 'float32' | 'int32');
  forEach(backend, 'copy', [sizeOf(x.shape), 0, 0], [x, y]);
  return y;
}
