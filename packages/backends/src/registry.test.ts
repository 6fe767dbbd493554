import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { blasMissing } from '../../../test/support/backends.js';
import {
  activateBackend,
  type BackendDescriptor,
  chooseBackend,
  knownBackends,
  probeBackends,
  registerBackend,
} from './index.js';

/** Packages as they are here, but TensorFlow's only where a test says so: a developer may have them or not. */
const installed = vi.hoisted(() => new Map<string, { entry: string; version: string }>());
vi.mock('./installed.js', async (importOriginal) => {
  const { findPackage } = await importOriginal<typeof import('./installed.js')>();
  return {
    findPackage: (name: string) => (name.includes('tfjs-node') ? (installed.get(name) ?? null) : findPackage(name)),
  };
});

afterEach(() => {
  vi.unstubAllEnvs();
  installed.clear();
});

describe('chooseBackend()', () => {
  it('takes the best available and says what it passed over', async () => {
    vi.stubEnv('SPFT_BLAS', '/nowhere/libblas.so');
    const choice = await chooseBackend();
    expect(choice.name).toBe('wasm');
    expect(choice.why).toMatch(
      /^wasm: @tensorflow\/tfjs-backend-wasm \d.*; passed over cuda \(.*\), blas \(SPFT_BLAS: .*cannot be loaded.*\)$/,
    );
  });

  it.skipIf(blasMissing() !== null)('takes a BLAS before wasm, and says which with how many threads', async () => {
    vi.stubEnv('SPFT_THREADS', '2');
    const choice = await chooseBackend();
    expect(choice.name).toBe('blas');
    expect(choice.why).toMatch(/^blas: .*, 2 threads; .*passed over cuda \(.*\)$/);
  });

  it('never falls back from a name', async () => {
    await expect(chooseBackend('tensorflow')).rejects.toThrow(
      "backend 'tensorflow' cannot run here: not installed; npm install @tensorflow/tfjs-node",
    );
    await expect(chooseBackend('metal')).rejects.toThrow(
      "backend 'metal' is unknown; known are cuda, blas, wasm, tensorflow, cpu, webgpu",
    );
  });

  it("passes over TensorFlow's package without its native part, as it is after an install that could not download it", async () => {
    const entry = join(mkdtempSync(join(tmpdir(), 'spft-tfjs-node-')), 'index.cjs');
    // Its own words.
    const message =
      'The Node.js native addon module (tfjs_binding.node) can not be found at path: /x/tfjs_binding.node. \\nPlease run command';
    writeFileSync(entry, `throw new Error('${message}');`);
    installed.set('@tensorflow/tfjs-node-gpu', { entry, version: '4.22.0' });
    const reason =
      'it is installed and does not load: @tensorflow/tfjs-node-gpu: The Node.js native addon module (tfjs_binding.node) can not be found at path: /x/tfjs_binding.node';
    expect((await chooseBackend()).why).toContain(`tensorflow (${reason})`);
    const { name, why } = await activateBackend();
    expect(name).not.toBe('tensorflow');
    expect(tf.getBackend()).toBe(name);
    expect(why).toContain(`tensorflow (${reason})`);
    const report = (await probeBackends()).find((report) => report.name === 'tensorflow');
    expect(report?.probe).toEqual({
      available: false,
      reason,
      hint: expect.stringContaining('reinstall it, or build'),
    });
    await expect(activateBackend('tensorflow')).rejects.toThrow(
      `backend 'tensorflow' cannot run here: ${reason}; reinstall it, or build its native part`,
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
      ...['cuda', 'blas', 'better', 'wasm'],
      ...['tensorflow', 'cpu', 'webgpu'],
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

  it('starts wasm, which multiplies, and says on how many threads', async () => {
    const { why } = await activateBackend('wasm');
    expect(why).toMatch(/tfjs-backend-wasm 4\.\d+\.\d+, (\d+ threads|one thread \(.+\))$/);
    expect(tf.getBackend()).toBe('wasm');
    expect([...tf.matMul(tf.tensor2d([[1, 2]]), tf.tensor2d([[3], [4]])).dataSync()]).toEqual([11]);
  });
});

/** A backend that is found and fails later, where `break_` says. */
function broken(
  name: string,
  break_: { prepare?: () => void; start?: () => void; multiply?: () => undefined | number[] },
) {
  const descriptor: BackendDescriptor = {
    name,
    description: 'for this test',
    priority: 90,
    repair: 'mend it',
    probe: async () => ({ available: true, detail: 'there' }),
    async prepare() {
      break_.prepare?.();
      tf.registerBackend(name, () => {
        break_.start?.();
        return new MathBackendCPU();
      });
      for (const { kernelName, kernelFunc, ...rest } of tf.getKernelsForBackend('cpu')) {
        const wrong: tf.KernelFunc = (params) => {
          const instead = kernelName === tf.BatchMatMul && break_.multiply?.();
          if (!instead) return kernelFunc(params);
          return tf.tensor(instead, [1, 2, 2]);
        };
        tf.registerKernel({ ...rest, kernelName, backendName: name, kernelFunc: wrong });
      }
    },
    whyNotStarted: async () => 'its factory threw',
  };
  registerBackend(descriptor);
}

describe('a backend that is found and does not run', () => {
  const fail = (message: string) => () => {
    throw new Error(message);
  };
  const cases: [string, Parameters<typeof broken>[1], string][] = [
    ['unloadable', { prepare: fail('no such file.\nand more') }, 'it is installed and does not load: no such file'],
    ['unstartable', { start: fail('no device') }, 'it was found but did not start (its factory threw)'],
    [
      'mute',
      { multiply: fail('(0 , util_1.isNullOrUndefined) is not a function') },
      'it started and does not compute: (0 , util_1.isNullOrUndefined) is not a function',
    ],
    ['wrong', { multiply: () => [0, 0, 0, 0] }, 'it computes wrongly: 1,1,1,1,2,2 where 0,5,0,9,5,9 is right'],
  ];

  it.each(cases)('is passed over with the reason, and never when it is named: %s', async (name, break_, reason) => {
    broken(name, break_);
    vi.stubEnv('SPFT_BLAS', '/nowhere/libblas.so');
    const before = tf.memory().numTensors;
    // Where tfjs would print, as it does outside of tests.
    tf.env().set('IS_TEST', false);
    const printed = vi.spyOn(console, 'warn').mockImplementation(() => {});
    for (let turn = 0; turn < 2; turn++) {
      const choice = await activateBackend();
      expect(choice.name).toBe('wasm');
      expect(choice.why).toContain(`${name} (${reason})`);
      expect(tf.getBackend()).toBe('wasm');
      await expect(activateBackend(name)).rejects.toThrow(`backend '${name}' cannot run here: ${reason}; mend it`);
      expect(tf.getBackend()).toBe('wasm');
      const report = (await probeBackends()).find((report) => report.name === name);
      expect(report?.probe).toEqual({ available: false, reason, hint: 'mend it' });
    }
    expect(printed.mock.calls.flat().filter((text) => String(text).includes(name))).toEqual([]);
    printed.mockRestore();
    tf.env().set('IS_TEST', true);
    expect(tf.env().getBool('PROD')).toBe(false);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('webgpu', () => {
  it('says that there is no adapter where no driver is found', { timeout: 60_000 }, async () => {
    for (const name of ['VK_ICD_FILENAMES', 'VK_DRIVER_FILES']) vi.stubEnv(name, '/nowhere');
    await expect(activateBackend('webgpu')).rejects.toThrow(
      /^backend 'webgpu' cannot run here: it was found but did not start \(WebGPU found no adapter.*Vulkan driver/,
    );
  });
});

describe('probeBackends()', () => {
  it('tries all that are there and leaves the active one', async () => {
    const before = tf.getBackend();
    const reports = await probeBackends();
    expect(reports.find((r) => r.name === 'webgpu')).toMatchObject({ automatic: false });
    expect(reports.find((r) => r.name === 'cpu')?.probe).toEqual({ available: true, detail: 'plain JavaScript' });
    expect(tf.getBackend()).toBe(before);
  });

  it('makes none active where none was', async () => {
    const engine = tf.engine() as unknown as { backendName: string | null; backendInstance: object | null };
    engine.backendName = null;
    engine.backendInstance = null;
    await probeBackends();
    expect(engine.backendName).toBeNull();
    expect(tf.tensor1d([1]).dataSync()[0]).toBe(1);
    await tf.setBackend('cpu');
  });
});
