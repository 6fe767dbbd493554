/** @file The error of this package. */

export interface SafetensorsErrorDetails {
  /** Path or other name of the file. */
  readonly file?: string;
  readonly tensor?: string;
  readonly cause?: unknown;
}

/** A file that is not what the safetensors format allows, or not what was asked of it. The message names file and tensor. */
export class SafetensorsError extends Error {
  readonly code = 'SPFT_SAFETENSORS';
  override readonly name = 'SafetensorsError';
  readonly file: string | undefined;
  readonly tensor: string | undefined;

  constructor(problem: string, details: SafetensorsErrorDetails = {}) {
    const tensor = details.tensor === undefined ? '' : `tensor '${details.tensor}': `;
    super(
      `${details.file === undefined ? '' : `${details.file}: `}${tensor}${problem}`,
      details.cause === undefined ? undefined : { cause: details.cause },
    );
    this.file = details.file;
    this.tensor = details.tensor;
  }
}
