/**
 * @file Makes a clone on tfjs's wasm backend share its memory, as it does on every other backend.
 *
 * tfjs clones each tensor that is kept for a gradient. The wasm backend's Identity kernel copies: a second set of activations, and 0.1 to
 * 0.2 ms for each of 600×256. Tensors are immutable and the backend counts references already (its Reshape shares), so a clone can share.
 * tfjs also takes the copy that `save` makes inside `tf.customGrad` for a leak of the kernel when its flag IS_TEST is set.
 */
import * as tf from '@tensorflow/tfjs';
import { registerSimdKernels } from '../kernels/simd/register.js';

/** What is used of a wasm backend here. */
interface ReferenceCounting {
  incRef(dataId: object): void;
}

let seenBackend = '';

/** Replaces the Identity kernel of the wasm backend; cheap to call again. Later than import, as the backend may be loaded after us. */
export function shareClones(): void {
  const backendName = tf.getBackend();
  if (backendName === seenBackend) return;
  seenBackend = backendName;
  if (backendName !== 'wasm') return;
  registerSimdKernels();
  if (tf.getKernel(tf.Identity, backendName)) tf.unregisterKernel(tf.Identity, backendName);
  tf.registerKernel({
    kernelName: tf.Identity,
    backendName,
    kernelFunc: ({ inputs, backend }) => {
      const { dataId, shape, dtype } = inputs.x as tf.TensorInfo;
      (backend as ReferenceCounting).incRef(dataId);
      return { dataId, shape, dtype };
    },
  });
}
