/** @file The error of a download. */

/** The hub did not give what was asked for, or the disk did not take it. The message says what to do; what was downloaded before stays. */
export class HubError extends Error {
  readonly code = 'SPFT_HUB';
  override readonly name = 'HubError';
  /** HTTP status, where the hub answered. */
  readonly status: number | undefined;

  constructor(message: string, options: { readonly status?: number; readonly cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = options.status;
  }
}
