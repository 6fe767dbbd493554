/**
 * @file The tfjs backend `cuda`. Importing this registers it: `import '@spft/backend-cuda'; await tf.setBackend('cuda')`. Nothing of CUDA is
 * loaded before it is chosen.
 */
import * as tf from '@tensorflow/tfjs';
import { BACKEND_NAME, CudaBackend } from './backend.js';
import { ordinalOf } from './settings.js';
import './kernels/index.js';

let failed: Error | null = null;

// Below the priority of webgl and wasm: whoever wants it says so.
tf.registerBackend(
  BACKEND_NAME,
  () => {
    failed = null;
    try {
      return new CudaBackend(ordinalOf());
    } catch (error) {
      failed = error as Error;
      throw error;
    }
  },
  0,
);

/** Why the backend did not start when it was last chosen: `tf.setBackend` prints it and returns false. */
export const startError = (): Error | null => failed;

export { CudaBackend } from './backend.js';
export {
  CudaCompileError,
  CudaError,
  CudaOutOfMemoryError,
  CudaSettingError,
  CudaUnavailableError,
  type Holder,
} from './errors.js';
export { type CudaProbe, type CudaProblem, describeProbe, type FoundLibrary, probeCuda } from './probe.js';
export { type RandomOptions, randomTensor } from './random.js';
