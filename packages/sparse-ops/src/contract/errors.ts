/** @file What is refused when a backend registers kernels. */

/** Kernels that a backend registers are not those of the contract. The message names them, and what was meant perhaps. */
export class KernelContractError extends Error {
  readonly code = 'SPFT_KERNEL_CONTRACT';
  override readonly name = 'KernelContractError';
}
