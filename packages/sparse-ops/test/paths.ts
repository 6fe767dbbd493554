/**
 * @file The ways by which an op can run: on each backend by its kernels where it has some, and by the portable composition; on wasm also by
 * the kernels that stand in where the SIMD ones cannot run, and the composition of tfjs's own products, which are what it is made of there.
 */
import { afterAll, beforeAll } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { meetBackend } from '../src/engine/meet-backend.js';
import { allowKernels } from '../src/engine/op.js';
import { registerSimdKernels, unregisterSimdKernels } from '../src/kernels/simd/register.js';

type By = 'kernels' | 'kernels without SIMD' | 'composition';

/** For `describe.each(PATHS)('f() on %s by its %s', (backend, by) => { usePath(backend, by); … })`. */
export const PATHS: readonly (readonly [backend: string, by: By])[] = TEST_BACKENDS.flatMap((backend) => [
  [backend, 'kernels'] as const,
  ...(backend === 'wasm' ? [[backend, 'kernels without SIMD'] as const] : []),
  [backend, 'composition'] as const,
]);

/** Makes the tests of the enclosing `describe` run that way. */
export function usePath(backend: string, by: By): void {
  const withoutSimd = backend === 'wasm' && by !== 'kernels';
  beforeAll(async () => {
    await useBackend(backend);
    meetBackend();
    if (withoutSimd) unregisterSimdKernels();
    allowKernels(by !== 'composition');
  });
  afterAll(() => {
    allowKernels(true);
    if (withoutSimd) registerSimdKernels();
  });
}
