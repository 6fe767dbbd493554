/**
 * @file The tfjs backend `cuda`. Importing this registers it: `import '@spft/backend-cuda'; await tf.setBackend('cuda')`. Nothing of CUDA is
 * loaded before it is chosen.
 */
import * as tf from '@tensorflow/tfjs';
import { BACKEND_NAME, CudaBackend } from './backend.js';
import './kernels/index.js';

// Below the priority of webgl and wasm: whoever wants it says so.
tf.registerBackend(BACKEND_NAME, () => new CudaBackend(Number(process.env.SPFT_CUDA_DEVICE ?? 0)), 0);

export { CudaBackend } from './backend.js';
export {
  CudaCompileError,
  CudaError,
  CudaOutOfMemoryError,
  CudaUnavailableError,
  type Holder,
} from './errors.js';
export { type RandomOptions, randomTensor } from './random.js';
