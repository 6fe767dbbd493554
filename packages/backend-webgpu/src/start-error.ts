/** @file Why the backend did not start, which tfjs keeps to itself. */

let problem: Error | null = null;

export function noteStart(error: Error | null): void {
  problem = error;
}

/** Of the last time that the backend was asked to start; null where it did, or was never asked. */
export const startError = (): Error | null => problem;
