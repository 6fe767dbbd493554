/** @file The ways by which an op can run: on each backend by its kernels where it has some, and by the portable composition. */
import { afterAll, beforeAll } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { allowKernels } from '../src/op.js';

/** For `describe.each(PATHS)('f() on %s by its %s', (backend, by) => { usePath(backend, by); … })`. */
export const PATHS = TEST_BACKENDS.flatMap((backend) => [
  [backend, 'kernels'] as const,
  [backend, 'composition'] as const,
]);

/** Makes the tests of the enclosing `describe` run that way. */
export function usePath(backend: string, by: 'kernels' | 'composition'): void {
  beforeAll(async () => {
    await useBackend(backend);
    allowKernels(by === 'kernels');
  });
  afterAll(() => {
    allowKernels(true);
  });
}
