/** @file What is thrown where WebGPU is missing, too small, lost or reports a mistake. Each message says what was wanted, found, and what to do. */

/** Why a device cannot be had or used. */
export type WebGPUProblem =
  | 'no-webgpu'
  | 'no-adapter'
  | 'no-device'
  | 'limit'
  | 'lost'
  | 'out-of-memory'
  | 'validation'
  | 'sync-read';

export class WebGPUError extends Error {
  override readonly name = 'WebGPUError';

  /** Stable, for programs: messages may change. */
  readonly code = 'SPFT_WEBGPU';

  constructor(
    readonly problem: WebGPUProblem,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
