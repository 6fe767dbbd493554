/** There is no BLAS that can be used, or what was asked of it cannot be done. The message says why and what would help. */
export class BlasError extends Error {
  readonly code = 'SPFT_BLAS';
  override readonly name = 'BlasError';
}
