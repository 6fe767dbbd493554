/** @file The error of this example, whose message the page shows as it is. */

export class PageError extends Error {
  override readonly name = 'PageError';
  readonly code = 'SPFT_PAGE';
}

/** A sentence for a person, of whatever went wrong. */
export function explain(error: unknown): { message: string; code: string | null } {
  const {
    name,
    message = String(error),
    code,
    problem,
  } = (error ?? {}) as Partial<Error> & {
    readonly code?: unknown;
    readonly problem?: unknown;
  };
  // Of a WebGPUError: nothing of this worker can be used any more. A read that was under way ends before the device says so, with an error of its own.
  const isLost = problem === 'lost' || (name === 'AbortError' && /mapAsync|GPUBuffer/.test(message));
  if (isLost) {
    const what = problem === 'lost' ? message : `the GPU's device was lost (${message})`;
    return { message: `${what.replace(/\.$/, '')}. Reload the page, and press Resume.`, code: 'SPFT_WEBGPU' };
  }
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
