import { describe, expect, it } from 'vitest';
import { works } from '../test/run-cli.js';

describe('spft doctor', () => {
  it('says what there is, what would be chosen and why', async () => {
    const { stdout, stderr } = await works(['doctor'], { env: { HF_HOME: '/somewhere/hf' } });
    expect(stdout).toContain(`node                           ${process.versions.node}`);
    expect(stdout).toMatch(/^ {2}\+ wasm {8}@tensorflow\/tfjs-backend-wasm 4\./m);
    expect(stdout).toMatch(/^ {2}- tensorflow {2}.*npm install @tensorflow\/tfjs-node/m);
    expect(stdout).toContain('chosen: wasm (asked for by name)');
    expect(stdout).toContain('/somewhere/hf/hub');
    expect(stderr).toBe('');
  });

  it('gives the same as JSON', async () => {
    const report = JSON.parse((await works(['doctor', '--json'])).stdout);
    expect(report.backends.map((b: { name: string }) => b.name)).toEqual([
      'cuda',
      'tensorflow',
      'wasm',
      'cpu',
      'webgpu',
    ]);
    expect(report.chosen.name).toBe('wasm');
    expect(report.memory.totalBytes).toBeGreaterThan(report.memory.freeBytes);
  });

  it('tells why a backend that was asked for cannot be had, and still exits 0', async () => {
    const report = JSON.parse((await works(['doctor', '--json', '--backend', 'metal'])).stdout);
    expect(report.chosen).toEqual({
      name: null,
      why: "backend 'metal' is unknown; known are cuda, tensorflow, wasm, cpu, webgpu",
    });
  });
});
