/**
 * @file The contract of `@spft/sparse-ops` as this backend meets it. Types alone come from there: the package works without the ops, and what runs
 * is registered with tfjs under the contract's names. A name, input, attribute or output that is not the contract's does not compile, and a test
 * holds what is registered against the contract itself.
 */
import type { KernelName, SpftKernels } from '@spft/sparse-ops/backend';
import type { CudaBackend } from '../backend.js';

/** Kernels by name. */
export type CudaKernels = Partial<SpftKernels<CudaBackend>>;

/** One kernel. */
export type CudaKernel<Name extends KernelName> = SpftKernels<CudaBackend>[Name];
