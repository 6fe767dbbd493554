import * as tf from '@tensorflow/tfjs';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { blasMissing } from '../../../test/support/backends.js';
import { activateBackend, chooseBackend, knownBackends, probeBackends, registerBackend } from './index.js';

afterEach(() => vi.unstubAllEnvs());

describe('chooseBackend()', () => {
  it('takes the best available and says what it passed over', async () => {
    vi.stubEnv('SPFT_BLAS', '/nowhere/libblas.so');
    const choice = await chooseBackend();
    expect(choice.name).toBe('wasm');
    expect(choice.why).toMatch(
      /^wasm: @tensorflow\/tfjs-backend-wasm \d.*; passed over cuda \(.*\), tensorflow \(not installed\), blas \(SPFT_BLAS: .*cannot be loaded.*\)$/,
    );
  });

  it.skipIf(blasMissing() !== null)('takes a BLAS before wasm, and says which with how many threads', async () => {
    vi.stubEnv('SPFT_THREADS', '2');
    const choice = await chooseBackend();
    expect(choice.name).toBe('blas');
    expect(choice.why).toMatch(/^blas: .*, 2 threads; passed over cuda \(.*\), tensorflow/);
  });

  it('never falls back from a name', async () => {
    await expect(chooseBackend('tensorflow')).rejects.toThrow(
      "backend 'tensorflow' cannot run here: not installed; npm install @tensorflow/tfjs-node",
    );
    await expect(chooseBackend('metal')).rejects.toThrow(
      "backend 'metal' is unknown; known are cuda, tensorflow, blas, wasm, cpu, webgpu",
    );
  });

  it('puts a registered backend where its priority says, and refuses a second of its name', async () => {
    const better = {
      name: 'better',
      description: 'for this test',
      priority: 20,
      probe: async () => ({ available: false as const, reason: 'not here' }),
      prepare: async () => {},
    };
    registerBackend(better);
    expect(knownBackends().map((b) => b.name)).toEqual([
      ...['cuda', 'tensorflow', 'blas', 'better'],
      ...['wasm', 'cpu', 'webgpu'],
    ]);
    vi.stubEnv('SPFT_BLAS', '/nowhere/libblas.so');
    expect((await chooseBackend()).why).toContain('better (not here)');
    expect(() => registerBackend(better)).toThrow("'better' is registered already");
  });
});

describe('activateBackend()', () => {
  it('starts what SPFT_BACKEND names', async () => {
    vi.stubEnv('SPFT_BACKEND', 'cpu');
    expect((await activateBackend()).name).toBe('cpu');
    expect(tf.getBackend()).toBe('cpu');
  });

  it('starts wasm, which multiplies', async () => {
    await activateBackend('wasm');
    expect(tf.getBackend()).toBe('wasm');
    expect([...tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])).dataSync()]).toEqual([11]);
  });
});

describe('probeBackends()', () => {
  it('asks all and starts none', async () => {
    const before = tf.getBackend();
    const reports = await probeBackends();
    expect(reports.find((r) => r.name === 'webgpu')).toMatchObject({ automatic: false, probe: { available: false } });
    expect(tf.getBackend()).toBe(before);
  });
});
