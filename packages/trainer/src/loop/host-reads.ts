/** @file Whether reading a scalar back is free, so that every step can be checked, or waits for a device. */
import * as tf from '@tensorflow/tfjs';

/** Backends that compute at once and in host memory. */
const HOST_BACKENDS = new Set(['cpu', 'wasm', 'blas']);

export function readsAreFree(): boolean {
  return HOST_BACKENDS.has(tf.getBackend());
}
