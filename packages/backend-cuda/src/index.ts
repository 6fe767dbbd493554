/**
 * @file The tfjs backend `cuda`. Importing this registers it: `import '@spft/backend-cuda'; await tf.setBackend('cuda')`. Nothing of CUDA is
 * loaded before it is chosen.
 */
import * as tf from '@tensorflow/tfjs';
import { BACKEND_NAME, CudaBackend } from './backend.js';
import { registerKernels } from './kernels.js';
import { ordinalOf } from './settings.js';

let failed: Error | null = null;

/** Below the priority of webgl and wasm: whoever wants it says so. */
function register(): void {
  const start = () => {
    failed = null;
    try {
      return new CudaBackend(ordinalOf());
    } catch (error) {
      failed = error as Error;
      throw error;
    }
  };
  tf.registerBackend(BACKEND_NAME, start, 0);
}

register();
registerKernels();

/**
 * Ends the backend and starts it anew, with no tensors in it and with the settings of now. Tensors that were in it can be disposed and not read.
 * @throws what kept it from starting. After a kernel that failed that is the same `CudaError` again: NVIDIA's driver then takes no more work from
 * the process.
 */
export async function restartCuda(): Promise<void> {
  tf.removeBackend(BACKEND_NAME);
  register();
  if (!(await tf.setBackend(BACKEND_NAME))) throw failed ?? new Error('internal: cuda did not start');
}

/** Why the backend did not start when it was last chosen: `tf.setBackend` prints it and returns false. */
export const startError = (): Error | null => failed;

export { CudaBackend } from './backend.js';
export {
  Communicator,
  type ConnectOptions,
  loadNccl,
  NCCL_HINT,
  uniqueId as ncclUniqueId,
} from './collectives/communicator.js';
export type { SumOfTensors } from './collectives/tensor-sums.js';
export {
  CudaCompileError,
  CudaDisposedError,
  CudaError,
  CudaFormError,
  CudaOutOfMemoryError,
  CudaSettingError,
  CudaUnavailableError,
  type Holder,
  NcclError,
} from './errors.js';
export { type CudaProbe, type CudaProblem, describeProbe, type FoundLibrary, probeCuda } from './probe.js';
export { type RandomOptions, randomTensor } from './random.js';
export { readOnly } from './read-only.js';
export type { CudaWeightShards } from './sharding/weight-shards.js';
