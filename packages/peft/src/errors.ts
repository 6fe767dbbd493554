/** @file The error of this package. */

/** An adapter or adapter config that cannot be used as it is. The message names field or tensors, what was wanted and what was found. */
export class AdapterError extends Error {
  readonly code = 'SPFT_ADAPTER';
  override readonly name = 'AdapterError';

  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
  }
}

/** The first few of a list, quoted, and how many more there are. */
export function firstOf(names: readonly string[], count = 5): string {
  const shown = names
    .slice(0, count)
    .map((name) => `'${name}'`)
    .join(', ');
  return names.length > count ? `${shown} and ${names.length - count} more` : shown;
}
