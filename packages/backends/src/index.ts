/**
 * @file Which TensorFlow.js backend this machine should use, and why.
 *
 * Importing it registers the backends cuda → tensorflow → blas → wasm → cpu, and webgpu by name. Other packages add theirs with `registerBackend`.
 */
import { blas, cpu, cuda, tensorflow, wasm, webgpu } from './builtin.js';
import { registerBackend } from './registry.js';

for (const descriptor of [cuda, tensorflow, blas, wasm, cpu, webgpu]) registerBackend(descriptor);

export { BackendError } from './errors.js';
export {
  activateBackend,
  type BackendChoice,
  type BackendDescriptor,
  type BackendProbe,
  type BackendReport,
  chooseBackend,
  knownBackends,
  probeBackends,
  registerBackend,
} from './registry.js';
