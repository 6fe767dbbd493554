/** @file Tests of the backend `cuda`, on what `emulator.ts` found. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe } from 'vitest';
import { useBackend } from '../../../test/support/backends.js';
import type { CudaBackend } from '../src/index.js';
import { cudaUnavailable } from './emulator.js';

export { cudaUnavailable, emulated } from './emulator.js';

/** `describe` with the backend `cuda` active; skipped, with the reason, where it cannot start. */
export function describeCuda(name: string, body: () => void): void {
  if (cudaUnavailable !== null) {
    describe.skip(`${name} (${cudaUnavailable.split('\n')[0]})`, body);
    return;
  }
  describe(name, () => {
    beforeAll(() => useBackend('cuda'));
    afterAll(() => useBackend('cpu'));
    body();
  });
}

/** The active backend, which must be `cuda`. */
export const cuda = (): CudaBackend => tf.backend() as CudaBackend;
