/** Asked for a backend that this machine cannot give. The message says why and what would help. */
export class BackendError extends Error {
  readonly code = 'SPFT_BACKEND';
  override readonly name = 'BackendError';
}
