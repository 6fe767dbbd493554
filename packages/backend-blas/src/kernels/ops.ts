import type { BlasKernel } from '../call.js';
export const OP_KERNELS: Readonly<Record<string, BlasKernel<never>>> = {};
