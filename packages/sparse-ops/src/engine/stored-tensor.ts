/** @file A frozen tensor as it lies in a file, for backends that take its bytes without a float32 copy on the host. */
import * as tf from '@tensorflow/tfjs';
import type { StoredType } from '../contract/layers.js';
import { someStored } from '../forms/stored-matrix.js';
import { registerHostKernel } from '../kernels/host/host-kernel.js';
import { storedTensorOnHost } from '../kernels/host/stored-tensor.js';
import { hasKernel, runOp } from './op.js';
import { noGradient } from './tape.js';

registerHostKernel('SpftStoredTensor', storedTensorOnHost);

/** Whether the active backend takes tensors of this element type as they lie in a file. */
export const takesStored = (dtype: string | undefined): dtype is StoredType =>
  (dtype === 'BF16' || dtype === 'F16' || dtype === 'F32') && hasKernel('SpftStoredTensor');

/**
 * @param bytes row-major; may change after the call.
 * @returns owned by the caller. Its elements may be stored less precisely than float32, as the backend says.
 * @throws TypeError where the active backend has no kernel for it: ask `takesStored` first.
 */
export function storedTensor<T extends tf.Tensor>(bytes: Uint8Array, stored: StoredType, shape: readonly number[]): T {
  return noGradient(() =>
    runOp('SpftStoredTensor', {}, { bytes, stored, shape }, () => {
      throw new TypeError(`storedTensor: backend '${tf.getBackend()}' takes no stored bytes; give it float32 values`);
    }),
  ) as T;
}

/**
 * `x` as precisely as `like` is stored: what is computed from a frozen weight to take its place takes its room too, and its fast products.
 * @returns owned by the caller. Not differentiable.
 */
export function storedLike<T extends tf.Tensor>(x: T, like: tf.Tensor): T {
  return noGradient(() =>
    someStored([like]) ? tf.clone(x) : runOp('SpftStoredLike', { x, like }, {}, () => tf.clone(x)),
  ) as T;
}
