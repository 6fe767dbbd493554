/** @file Errors of WebGPU that are thrown, what tfjs's own kernels get wrong there, and the shaders as they lie in files. */
import { execFileSync } from 'node:child_process';
import { adamwUpdate } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { describeWebGPU, useWebGPU, webgpu } from '../../test/webgpu.js';
import { WebGPUError } from '../errors.js';
import { output } from '../shared/call.js';
import { checkLimits, requestDevice } from './adapter.js';
import { SpftWebGPUBackend } from './backend.js';
import { shaderText } from './pipelines.js';

describe('shaders.generated.ts', () => {
  it('is what wgsl/*.wgsl say', () => {
    execFileSync(process.execPath, ['packages/backend-webgpu/wgsl/compile.mjs', '--check'], { stdio: 'pipe' });
  });

  it('takes constants that a shader has, and no others', () => {
    expect(shaderText('sum', { ROOT: true })).toContain('const ROOT: bool = true;');
    expect(shaderText('sum', {})).toContain('const ROOT: bool = false;');
    expect(() => shaderText('sum', { CUBES: true })).toThrow('sum.wgsl has no CUBES');
  });
});

describe('requestDevice()', () => {
  const withGpu = async (gpu: unknown): Promise<unknown> => {
    const before = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
    Object.defineProperty(globalThis, 'navigator', { value: gpu === undefined ? {} : { gpu }, configurable: true });
    try {
      return await requestDevice().catch((error: unknown) => error);
    } finally {
      if (before) Object.defineProperty(globalThis, 'navigator', before);
      else Reflect.deleteProperty(globalThis, 'navigator');
    }
  };

  it('says what is missing, and what to do', async () => {
    expect(await withGpu(undefined)).toMatchObject({ problem: 'no-webgpu', message: /npm install webgpu/ });
    expect(await withGpu({ requestAdapter: async () => null })).toMatchObject({
      problem: 'no-adapter',
      message: /install a Vulkan driver/,
    });
    const features = new Set<string>();
    const limits = {
      ...{ maxComputeInvocationsPerWorkgroup: 256, maxComputeWorkgroupStorageSize: 16384 },
      maxStorageBuffersPerShaderStage: 8,
    };
    const requestDevice = async () => {
      throw new Error('the GPU is gone');
    };
    const adapter = { features, limits, requestDevice };
    expect(await withGpu({ requestAdapter: async () => adapter })).toMatchObject({
      problem: 'no-device',
      message: /gave no device: the GPU is gone/,
    });
    expect(() => checkLimits({ ...limits, maxStorageBuffersPerShaderStage: 4 })).toThrow(
      'maxStorageBuffersPerShaderStage 4, these kernels need 8',
    );
  });
});

describeWebGPU('SpftWebGPUBackend', () => {
  beforeAll(useWebGPU);

  it('throws what WebGPU reports, once, and goes on', async () => {
    const backend = webgpu();
    backend.device.createBindGroupLayout({ entries: [{ binding: -1 >>> 0, visibility: 0 }] });
    const x = tf.tensor1d([1, 2]);
    const error = await (async () => {
      for (let n = 0; n < 50; n++) await tf.tidy(() => tf.add(x, n)).data();
    })().catch((error: unknown) => error);
    expect(error).toBeInstanceOf(WebGPUError);
    expect(error).toMatchObject({ problem: 'validation' });
    expect([...(await tf.tidy(() => tf.add(x, 1)).data())]).toEqual([2, 3]);
    x.dispose();
  });

  it('says that it cannot be read at once, instead of a missing canvas', async () => {
    const x = tf.tidy(() => tf.add(tf.ones([2000]), 1));
    expect(() => x.dataSync()).toThrow(/await tensor\.data\(\)/);
    expect((await x.data())[1999]).toBe(2);
    x.dispose();
  });

  it('says of a device that was lost what was lost', async () => {
    const backend = new SpftWebGPUBackend(await requestDevice());
    backend.device.destroy();
    await backend.device.lost;
    await Promise.resolve();
    expect(() => backend.check()).toThrow(/device was lost .*last checkpoint/);
    expect(() => backend.check()).toThrow(WebGPUError);
  });

  it('says so too where a read was under way', async () => {
    const backend = new SpftWebGPUBackend(await requestDevice());
    const { dataId } = output(backend, [4]);
    backend.uploadToGPU(dataId);
    const read = backend.read(dataId);
    backend.device.destroy();
    await expect(read).rejects.toMatchObject({ problem: 'lost', message: /device was lost/ });
  });

  it('adds more tensors than a shader has buffers, where tfjs alone gives zeros', async () => {
    for (const count of [1, 7, 8, 20, 50]) {
      const before = tf.memory().numTensors;
      const sum = tf.tidy(() => tf.addN(Array.from({ length: count }, (_, n) => tf.fill([5], n + 1))));
      expect([...(await sum.data())]).toEqual(Array(5).fill((count * (count + 1)) / 2));
      sum.dispose();
      expect(tf.memory().numTensors).toBe(before);
    }
  });

  it('reads what is there, also where a kernel has written over what was read before', async () => {
    const [parameter, first, second] = [1, 0, 0].map((value) => tf.variable(tf.fill([2], value)));
    const gradient = tf.tensor1d([1, -1]);
    const state = { firstMoments: [first!], secondMoments: [second!] };
    const seen: number[][] = [];
    for (let step = 1; step <= 3; step++) {
      adamwUpdate([parameter!], [gradient], state, { learningRate: 0.5, step });
      seen.push([...(await parameter!.data())].map((value) => Math.round(value * 1e3) / 1e3));
    }
    expect(seen).toEqual([
      [0.5, 1.5],
      [0, 2],
      [-0.5, 2.5],
    ]);
    tf.dispose([parameter!, first!, second!, gradient]);
  });

  it('sums tensors without elements', async () => {
    const of = async (t: tf.Tensor) => ({ shape: t.shape, values: [...(await t.data())] });
    const x = tf.zeros([0, 3]);
    expect(await of(tf.sum(x))).toEqual({ shape: [], values: [0] });
    expect(await of(tf.sum(x, 0))).toEqual({ shape: [3], values: [0, 0, 0] });
    expect(await of(tf.sum(x, 1, true))).toEqual({ shape: [0, 1], values: [] });
  });

  it('keeps its memory flat over steps of varying sizes', async () => {
    const backend = webgpu();
    const step = async (size: number) => {
      const y = tf.tidy(() => tf.matMul(tf.ones([size, 64]), tf.ones([64, size])));
      expect((await y.data())[0]).toBe(64);
      y.dispose();
    };
    await step(300);
    const [used, tensors] = [backend.memory().numBytesInGPU, backend.numDataIds()];
    for (let n = 0; n < 8; n++) await step(250 + 10 * n);
    backend.flush();
    expect(backend.memory().numBytesInGPU).toBe(used);
    expect(backend.numDataIds()).toBe(tensors);
  });

  it('knows where its time goes', async () => {
    const entries = await webgpu().profile(() => {
      const y = output(webgpu(), [4]);
      webgpu().dispatch('zero', {}, Uint32Array.of(4, 0, 0, 0), [y], [1]);
      webgpu().disposeData(y.dataId);
    });
    expect(entries).toMatchObject([{ name: 'zero', calls: 1 }]);
  });
});
