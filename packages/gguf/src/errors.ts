/** @file The error of this package. */

export interface GgufErrorDetails {
  /** Path or other name of the file. */
  readonly file?: string | undefined;
  readonly tensor?: string | undefined;
  /** Key of the metadata. */
  readonly key?: string | undefined;
  readonly cause?: unknown;
}

/** A file that is not what the format allows, or not what was asked of it. The message names file and tensor or key. */
export class GgufError extends Error {
  readonly code = 'SPFT_GGUF';
  override readonly name = 'GgufError';
  readonly file: string | undefined;
  readonly tensor: string | undefined;
  readonly key: string | undefined;

  constructor(problem: string, { file, tensor, key, cause }: GgufErrorDetails = {}) {
    const place =
      tensor !== undefined ? `tensor '${tensor.slice(0, 100)}': ` : key !== undefined ? `${key.slice(0, 100)}: ` : '';
    super(`${file === undefined ? '' : `${file}: `}${place}${problem}`, cause === undefined ? undefined : { cause });
    this.file = file;
    this.tensor = tensor;
    this.key = key;
  }
}
