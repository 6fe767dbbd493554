/** @file A turn of the event loop: steps that compute at once leave none to whoever would stop the run. */

export const nextTurn = (): Promise<void> =>
  new Promise((resume) => {
    if (typeof setImmediate === 'function') setImmediate(resume);
    else setTimeout(resume);
  });
