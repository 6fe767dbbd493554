/**
 * @file Which BLAS this machine has: `SPFT_BLAS` if set, else the first of the usual ones that loads and computes.
 */
import { availableParallelism } from 'node:os';
import { BlasError } from '../errors.js';
import { type Blas, loadBlas } from './blas.js';
import { candidates, installHint } from './candidates.js';

export type BlasProbe =
  | {
      readonly available: true;
      /** The library and the number of threads, in one line. */
      readonly detail: string;
      readonly blas: Blas;
      /** Threads of the backend, this one included. */
      readonly threads: number;
    }
  | { readonly available: false; readonly reason: string; readonly hint: string };

/** What is read of the environment. */
export interface BlasEnvironment {
  readonly SPFT_BLAS?: string;
  readonly SPFT_THREADS?: string;
}

let known: { readonly key: string; readonly probe: BlasProbe } | null = null;

/** Looks for a BLAS; never throws. The answer for an environment is kept, as a library once loaded stays. */
export function probeBlas(environment: BlasEnvironment = process.env as BlasEnvironment): BlasProbe {
  const key = `${environment.SPFT_BLAS ?? ''}\n${environment.SPFT_THREADS ?? ''}`;
  if (known?.key !== key) known = { key, probe: look(environment) };
  return known.probe;
}

function look({ SPFT_BLAS: asked, SPFT_THREADS: threadsAsked }: BlasEnvironment): BlasProbe {
  const threads = threadsAsked ? Number(threadsAsked) : availableParallelism();
  if (!(Number.isSafeInteger(threads) && threads >= 1)) {
    return {
      available: false,
      reason: `SPFT_THREADS is '${threadsAsked}'`,
      hint: 'set it to a whole number of at least 1, or not at all',
    };
  }
  const misfits: string[] = [];
  for (const path of asked ? [asked] : candidates()) {
    try {
      const blas = loadBlas(path);
      const note = blas.note ? `; ${blas.note}` : '';
      const detail = `${blas.version} (${path}), ${threads} thread${threads === 1 ? '' : 's'}${note}`;
      return { available: true, detail, blas, threads };
    } catch (error) {
      if (!(error instanceof BlasError)) throw error;
      // Of the usual places most are empty; what is there and does not work is worth a word.
      if (asked || !error.message.includes('cannot be loaded')) misfits.push(error.message);
    }
  }
  if (asked) {
    return {
      available: false,
      reason: `SPFT_BLAS: ${misfits[0]}`,
      hint: 'set SPFT_BLAS to the path of a BLAS with a C interface, or not at all',
    };
  }
  const found =
    misfits.length > 0 ? [...new Set(misfits)].join('; ') : 'no BLAS was found (OpenBLAS, MKL, BLIS or Accelerate)';
  return { available: false, reason: found, hint: installHint() };
}
