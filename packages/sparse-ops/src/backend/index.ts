/**
 * @file `@spft/sparse-ops/backend`: for whoever writes a backend. The contract between ops and kernels, and how to register kernels of one's own
 * (docs/BACKENDS.md).
 */

export type { KernelEntry, Slot } from '../contract/entry.js';
export { readSlot } from '../contract/entry.js';
export { KernelContractError } from '../contract/errors.js';
export {
  CONTRACT,
  isKernelName,
  KERNEL_NAMES,
  type KernelAttributesOf,
  type KernelInfosOf,
  type KernelInputsOf,
  type KernelName,
  type KernelTensorsOf,
  type SpftKernelCall,
  type SpftKernels,
} from '../contract/kernels.js';
export type * from '../contract/layers.js';
export { checkBackend, registerSpftKernels } from '../contract/register.js';
export type * from '../contract/types.js';
export { hasKernel, runKernel, runOp, withoutKernels } from '../engine/op.js';
