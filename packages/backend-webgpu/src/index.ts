/**
 * @file SparseLoRA's ops on WebGPU. Importing it puts this package's backend in the place of tfjs's `webgpu`; `await tf.setBackend('webgpu')` starts
 * it, or gives false and `startError()` says why. In Node call `provideWebGPU()` of `@spft/backend-webgpu/node` first.
 */
import '@tensorflow/tfjs-backend-webgpu';
import { registerWebGPUBackend } from './register.js';

registerWebGPUBackend();

export { WebGPUError, type WebGPUProblem } from './errors.js';
export { BACKEND_NAME } from './register.js';
export { startError } from './start-error.js';
