/** @file The error of datasets: which file and line, what was wanted there, what was found, what to do. */

/** Where a row stands. */
export interface RowSource {
  /** Path or name of the file. */
  readonly file: string;
  /** Line on which the row begins, counted from 1. */
  readonly line: number;
}

/** A dataset cannot be found, fetched, read or understood. */
export class DatasetError extends Error {
  override readonly name = 'DatasetError';
  readonly code = 'SPFT_DATASET';
  readonly file: string | undefined;
  readonly line: number | undefined;
  /** HTTP status, where a server answered. */
  readonly status: number | undefined;

  constructor(
    message: string,
    options: Partial<RowSource> & { readonly status?: number; readonly cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.file = options.file;
    this.line = options.line;
    this.status = options.status;
  }
}

/** A row that cannot be used, and why. */
export interface BadRow extends RowSource {
  readonly problem: string;
}

/** `data.json:12`. */
export function at({ file, line }: RowSource): string {
  return `${file}:${line}`;
}
