/**
 * @file A backend as narrow as WebGPU, which is not among those that tests run on: tfjs's cpu kernels, of which none may get more than seven
 * tensors. WebGPU promises a shader eight buffers, the result among them; tfjs divides `concat` and `stack` there itself, and `addN` it does not.
 */

import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';

tf.env().set('IS_TEST', true);

export const NARROW = 'narrow';
const MOST_INPUTS = 7;
const DIVIDED: ReadonlySet<string> = new Set([tf.Concat, tf.Pack]);

/** Registers it once a process; it has none of spft's kernels. */
export function registerNarrowBackend(): void {
  if (tf.findBackendFactory(NARROW)) return;
  tf.registerBackend(NARROW, () => new MathBackendCPU());
  for (const { kernelName, kernelFunc, ...rest } of tf.getKernelsForBackend('cpu')) {
    if (kernelName.startsWith('Spft')) continue;
    tf.registerKernel({
      ...rest,
      kernelName,
      backendName: NARROW,
      kernelFunc: (params) => {
        const count = Object.keys(params.inputs).length;
        if (count > MOST_INPUTS && !DIVIDED.has(kernelName)) {
          throw new Error(`${kernelName} got ${count} tensors; WebGPU takes ${MOST_INPUTS} and gives zeros for more`);
        }
        return kernelFunc(params);
      },
    });
  }
}
