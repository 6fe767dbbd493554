/** @file A tfjs backend `mine`: everything that tfjs's `cpu` has, and one kernel of our own for an op of spft. */

import { registerSpftKernels } from '@spft/sparse-ops/backend';
import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { linearKeptRows } from './linear-kept-rows.js';

export const BACKEND_NAME = 'mine';

export class MyBackend extends MathBackendCPU {}

/** Makes the backend known to tfjs, with its kernels. `await tf.setBackend('mine')` starts it. */
export function registerMyBackend(): void {
  if (tf.findBackendFactory(BACKEND_NAME)) return;
  tf.registerBackend(BACKEND_NAME, () => new MyBackend());
  for (const kernel of tf.getKernelsForBackend('cpu')) {
    // Kernels of spft's ops that others registered for `cpu` are theirs.
    if (!kernel.kernelName.startsWith('Spft')) tf.registerKernel({ ...kernel, backendName: BACKEND_NAME });
  }
  registerSpftKernels<MyBackend>(BACKEND_NAME, { SpftLinearKeptRows: linearKeptRows });
}
