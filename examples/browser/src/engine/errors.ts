/** @file The error of this example, whose message the page shows as it is. */

export class PageError extends Error {
  override readonly name = 'PageError';
  readonly code = 'SPFT_PAGE';
}

/** A sentence for a person, of whatever went wrong. */
export function explain(error: unknown): { message: string; code: string | null } {
  const { name, message = String(error), code } = (error ?? {}) as Partial<Error> & { code?: unknown };
  if (typeof code === 'string' && code.startsWith('SPFT_')) return { message, code };
  if (name === 'QuotaExceededError' || /quota/i.test(message)) {
    return {
      message:
        "The browser's storage for this page is full. What was saved before is untouched: free room on the disk, or press “Forget saved models and runs”, and try again.",
      code: 'SPFT_QUOTA',
    };
  }
  // tfjs's module ends itself where its memory cannot grow; engines have their own words for it.
  if (
    /out of memory|OOM|Aborted\(|allocation failed|memory access out of bounds|Array buffer allocation/i.test(message)
  ) {
    return {
      message: `The memory that WebAssembly may use ran out (${message.slice(0, 100)}). Reload the page and resume, with a smaller batch or shorter samples, or a smaller model.`,
      code: 'SPFT_MEMORY',
    };
  }
  return { message: `${name ?? 'Error'}: ${message}`, code: null };
}
