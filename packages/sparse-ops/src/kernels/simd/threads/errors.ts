/** @file What is said where threads do not come back. */

/** Other threads did not finish what they had taken; the backend computes nothing more in this process. */
export class ThreadsError extends Error {
  readonly code = 'SPFT_THREADS';
  override readonly name = 'ThreadsError';
}
