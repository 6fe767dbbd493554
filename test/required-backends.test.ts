/** @file Tests that are skipped without a backend fail where it is required: as CI runs them. */
import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { orRequired } from './support/required.js';

describe('SPFT_REQUIRE_BACKENDS', () => {
  it('makes an error of what is missing, and only of that', () => {
    const env = { SPFT_REQUIRE_BACKENDS: 'blas,nvrtc' };
    expect(orRequired('blas', null, env)).toBeNull();
    expect(orRequired('cuda', 'no g++', env)).toBe('no g++');
    expect(orRequired('blas', 'none', {})).toBe('none');
    expect(() => orRequired('blas', 'none was found', env)).toThrow(
      'tests: blas is required here (SPFT_REQUIRE_BACKENDS) and missing: none was found',
    );
    expect(() => orRequired('cuda', null, { SPFT_REQUIRE_BACKENDS: 'blsa' })).toThrow("names 'blsa'; known are blas");
  });

  // Each without what it needs, by the variables that lead elsewhere.
  it.each([
    ['blas', 'packages/backend-blas/src/library/probe.test.ts', { SPFT_BLAS: '/nowhere/libblas.so' }],
    ['cuda', 'packages/backend-cuda/src/layouts.test.ts', { SPFT_CUDA_PATH: '/nowhere' }],
    ['webgpu', 'packages/backend-webgpu/src/device/buffers.test.ts', { VK_ICD_FILENAMES: '/nowhere' }],
    ['nvrtc', 'packages/backend-cuda/src/compile-all.test.ts', { SPFT_CUDA_PATH: '/nowhere', SPFT_TEST_NVRTC: '' }],
  ])(
    'fails a run of tests without %s, which passes where it is not required',
    { timeout: 120_000 },
    (name, file, env) => {
      const run = (required: string) => {
        const { status, stdout, stderr } = spawnSync(
          process.execPath,
          ['node_modules/vitest/vitest.mjs', 'run', '--maxWorkers=1', file],
          { encoding: 'utf8', env: { ...process.env, NO_COLOR: '1', ...env, SPFT_REQUIRE_BACKENDS: required } },
        );
        return { status, output: stdout + stderr };
      };
      const without = run('');
      expect(without.status, without.output).toBe(0);
      expect(without.output).toMatch(/\d+ skipped/);
      const required = run(name);
      expect(required.status).not.toBe(0);
      expect(required.output).toContain(`tests: ${name} is required here (SPFT_REQUIRE_BACKENDS) and missing: `);
    },
  );
});
