import { afterEach, describe, expect, it, vi } from 'vitest';
import { blasMissing } from '../../../../test/support/backends.js';
import { works } from '../../test/run-cli.js';

afterEach(() => vi.unstubAllEnvs());

describe('spft doctor', () => {
  it('says what there is, what would be chosen and why', async () => {
    const { stdout, stderr } = await works(['doctor'], { env: { HF_HOME: '/somewhere/hf' } });
    expect(stdout).toContain(`node                           ${process.versions.node}`);
    expect(stdout).toMatch(/^ {2}\+ wasm {8}@tensorflow\/tfjs-backend-wasm 4\./m);
    // How to get it, where it is not installed.
    expect(stdout).toMatch(
      /^ {2}(\+ tensorflow {2}@tensorflow\/tfjs-node|- tensorflow {2}.*npm install @tensorflow\/tfjs-node)/m,
    );
    expect(stdout).toContain('chosen: wasm (asked for by name)');
    expect(stdout).toContain('/somewhere/hf/hub');
    expect(stderr).toBe('');
  });

  it('gives the same as JSON', async () => {
    const report = JSON.parse((await works(['doctor', '--json'])).stdout);
    expect(report.backends.map((b: { name: string }) => b.name)).toEqual([
      ...['cuda', 'tensorflow', 'blas', 'wasm'],
      ...['cpu', 'webgpu'],
    ]);
    expect(report.chosen.name).toBe('wasm');
    expect(report.memory.totalBytes).toBeGreaterThan(report.memory.freeBytes);
  });

  it('says why there is no BLAS and how to get one', async () => {
    vi.stubEnv('SPFT_BLAS', '/nowhere/libblas.so');
    const { stdout } = await works(['doctor']);
    expect(stdout).toMatch(/^ {2}- blas {8}SPFT_BLAS: \/nowhere\/libblas\.so cannot be loaded: .*; set SPFT_BLAS to /m);
  });

  it.skipIf(blasMissing() !== null)('says which BLAS there is, with how many threads', async () => {
    vi.stubEnv('SPFT_THREADS', '2');
    const { stdout } = await works(['doctor']);
    expect(stdout).toMatch(/^ {2}\+ blas {8}.* \(.*\), 2 threads(;.*)?: /m);
  });

  it('tells why a backend that was asked for cannot be had, and still exits 0', async () => {
    const report = JSON.parse((await works(['doctor', '--json', '--backend', 'metal'])).stdout);
    expect(report.chosen).toEqual({
      name: null,
      why: "backend 'metal' is unknown; known are cuda, tensorflow, blas, wasm, cpu, webgpu",
    });
  });
});
