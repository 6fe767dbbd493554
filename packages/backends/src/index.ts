/**
 * @file Which TensorFlow.js backend this machine should use, and why.
 *
 * Importing it registers tfjs's own backends: cuda → tensorflow → wasm → cpu, and webgpu by name. Other packages add theirs with `registerBackend`.
 */
import { cpu, cuda, tensorflow, wasm, webgpu } from './builtin.js';
import { registerBackend } from './registry.js';

for (const descriptor of [cuda, tensorflow, wasm, cpu, webgpu]) registerBackend(descriptor);

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
