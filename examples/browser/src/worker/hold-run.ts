/** @file One run in all tabs of this page, as they share its storage. */
import { PageError } from '../engine/errors.js';

/** @throws PageError when another tab has a run that goes on. */
export async function holdRun<T>(work: () => Promise<T>): Promise<T> {
  if (!navigator.locks) return work();
  return navigator.locks.request('spft-run', { ifAvailable: true }, (lock) => {
    if (lock === null) throw new PageError('Another tab of this page is training; pause it there, or close that tab.');
    return work();
  }) as Promise<T>;
}
