/**
 * @file TensorFlow.js on the CPU through the system's BLAS. Importing it registers the backend `blas`; `await tf.setBackend('blas')` starts it,
 * or says on the console why it cannot and gives false.
 */
import { registerBlasBackend } from './register.js';

registerBlasBackend();

export { BlasBackend } from './backend.js';
export { BlasError } from './errors.js';
export { type BlasEnvironment, type BlasProbe, probeBlas } from './library/probe.js';
export { BACKEND_NAME } from './register.js';
