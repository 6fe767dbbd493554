/** @file When the backend `tensorflow` is tried, by packages of TensorFlow's that are made up: where they compute decides it. */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { MathBackendCPU } from '@tensorflow/tfjs-backend-cpu';
import { afterEach, describe, expect, it, vi } from 'vitest';

const installed = vi.hoisted(() => new Map<string, { entry: string; version: string }>());
vi.mock('./installed.js', async (importOriginal) => {
  const { findPackage } = await importOriginal<typeof import('./installed.js')>();
  return {
    findPackage: (name: string) => (name.includes('tfjs-node') ? (installed.get(name) ?? null) : findPackage(name)),
  };
});

describe('tensorflow', () => {
  const started = globalThis as { startTensorflow?: () => void };
  afterEach(() => {
    vi.unstubAllEnvs();
    installed.clear();
    delete started.startTensorflow;
    tf.removeBackend('tensorflow');
  });

  /** The registry anew, and a package of TensorFlow's that starts a backend when it is loaded, as theirs do, and says where it computes. */
  async function withPackage(name: string, isUsingGpuDevice: boolean) {
    let loads = 0;
    started.startTensorflow = () => {
      loads++;
      tf.registerBackend('tensorflow', () => Object.assign(new MathBackendCPU(), { isUsingGpuDevice }));
      for (const kernel of tf.getKernelsForBackend('cpu')) {
        if (!tf.getKernel(kernel.kernelName, 'tensorflow')) tf.registerKernel({ ...kernel, backendName: 'tensorflow' });
      }
    };
    const entry = join(mkdtempSync(join(tmpdir(), 'spft-tfjs-node-')), 'index.cjs');
    writeFileSync(entry, 'globalThis.startTensorflow();');
    installed.set(name, { entry, version: '4.22.0' });
    vi.stubEnv('SPFT_BLAS', '/nowhere/libblas.so');
    vi.resetModules();
    const registry = await import('./index.js');
    const order = () => registry.knownBackends().map((backend) => backend.name);
    return { ...registry, order, loads: () => loads };
  }

  const AFTER_WASM = ['cuda', 'blas', 'wasm', 'tensorflow', 'cpu', 'webgpu'];
  const FIRST = ['cuda', 'tensorflow', 'blas', 'wasm', 'cpu', 'webgpu'];

  it('is left alone on a processor where wasm runs, which is faster, and taken by name', async () => {
    const { chooseBackend, order, loads } = await withPackage('@tensorflow/tfjs-node', false);
    expect(order()).toEqual(AFTER_WASM);
    expect((await chooseBackend()).name).toBe('wasm');
    expect(loads()).toBe(0);
    expect((await chooseBackend('tensorflow')).why).toBe(
      'tensorflow (asked for by name): @tensorflow/tfjs-node 4.22.0, on the processor',
    );
    expect(order()).toEqual(AFTER_WASM);
  });

  it('is taken before them on a GPU', async () => {
    const { chooseBackend, order } = await withPackage('@tensorflow/tfjs-node-gpu', true);
    expect(order()).toEqual(FIRST);
    expect((await chooseBackend()).why).toMatch(
      /^tensorflow: @tensorflow\/tfjs-node-gpu 4\.22\.0, on a GPU; passed over cuda/,
    );
    expect(order()).toEqual(FIRST);
  });

  it('falls behind wasm where its package for GPUs starts without one', async () => {
    const { chooseBackend, probeBackends, order } = await withPackage('@tensorflow/tfjs-node-gpu', false);
    expect(order()).toEqual(FIRST);
    const { name, why } = await chooseBackend();
    expect(name).toBe('wasm');
    expect(why).not.toContain('tfjs-node');
    expect(order()).toEqual(AFTER_WASM);
    const reports = await probeBackends();
    expect(reports.map((report) => report.name)).toEqual(AFTER_WASM);
    expect(reports[3]!.probe).toEqual({
      available: true,
      detail: '@tensorflow/tfjs-node-gpu 4.22.0, on the processor',
    });
  });
});
