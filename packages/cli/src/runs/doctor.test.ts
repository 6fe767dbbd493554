/** @file What `spft doctor` says of this machine. @own-process as it lists every backend that is registered. */
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
      ...['cuda', 'blas', 'wasm', 'tensorflow'],
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

  it('says what launcher it runs under, or what of its variables is missing, and which MPI there is', async () => {
    const env = { OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '4', OMPI_COMM_WORLD_LOCAL_RANK: '1' };
    const local = { ...env, OMPI_COMM_WORLD_LOCAL_SIZE: '2' };
    const { stdout } = await works(['doctor'], { env: { ...local, SPFT_MPI: '/nowhere/libmpi.so' } });
    expect(stdout).toMatch(/^ {2}launcher {2}Open MPI's mpirun: rank 1 of 4, 1 on this host$/m);
    expect(stdout).toMatch(/^ {2}MPI {7}no MPI can be loaded \(\/nowhere\/libmpi\.so: .*apt-get install openmpi-bin/m);
    expect((await works(['doctor'], { env })).stdout).toMatch(/launcher .*, but not OMPI_COMM_WORLD_LOCAL_SIZE/);
    expect((await works(['doctor'])).stdout).toMatch(/^ {2}launcher {2}none: one process$/m);
  });

  it('tells why a backend that was asked for cannot be had, and still exits 0', async () => {
    const report = JSON.parse((await works(['doctor', '--json', '--backend', 'metal'])).stdout);
    expect(report.chosen).toEqual({
      name: null,
      why: "backend 'metal' is unknown; known are cuda, blas, wasm, tensorflow, cpu, webgpu",
    });
  });
});
