/**
 * @file Which TensorFlow.js backend this machine should use, and why.
 *
 * Importing it registers the backends cuda → tensorflow on a GPU → blas → wasm → tensorflow on a processor → cpu, and webgpu by name. Other packages add theirs with `registerBackend`.
 */
import { blas, cpu, cuda, tensorflow, wasm, webgpu } from './builtin.js';
import { registerBackend } from './registry.js';

for (const descriptor of [cuda, tensorflow, blas, wasm, cpu, webgpu]) registerBackend(descriptor);

export type { BackendDescriptor, BackendProbe } from './descriptor.js';
export { BackendError } from './errors.js';
export {
  activateBackend,
  type BackendChoice,
  type BackendReport,
  chooseBackend,
  knownBackends,
  probeBackends,
  registerBackend,
} from './registry.js';
