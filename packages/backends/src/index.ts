/**
 * @file Which TensorFlow.js backend this machine should use, and why.
 *
 * Importing it registers the backends tensorflow → blas → wasm → cpu, and webgpu by name. Other packages add theirs with `registerBackend`.
 */
import { blas, cpu, tensorflow, wasm, webgpu } from './builtin.js';
import { registerBackend } from './registry.js';

for (const descriptor of [tensorflow, blas, wasm, cpu, webgpu]) registerBackend(descriptor);

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
