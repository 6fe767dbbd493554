/** @file The conformance suite on this package's own kernels, and that it finds what is wrong. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import '../index.js';
import type { KernelName } from '../contract/kernels.js';
import { registerSpftKernels } from '../contract/register.js';
import { meetBackend } from '../engine/meet-backend.js';
import { registerSimdKernels, unregisterSimdKernels } from '../kernels/simd/register.js';
import { describeConformance, kernelsOf, kernelsWithoutCase } from './index.js';

for (const backend of ['cpu', 'wasm']) {
  describe(backend, () => {
    beforeAll(() => useBackend(backend));
    describeConformance({ backend, describe, it });
  });
}

describe('wasm where SIMD kernels cannot run', () => {
  beforeAll(async () => {
    await useBackend('wasm');
    meetBackend();
    unregisterSimdKernels();
  });
  afterAll(() => registerSimdKernels());
  // Those that SIMD kernels take the place of.
  const only: KernelName[] = [
    'SpftPackedAttention',
    'SpftPackedAttentionGrad',
    'SpftRope',
    'SpftAdamw',
    'SpftTranspose2d',
  ];
  describeConformance({ backend: 'wasm', describe, it, only });
});

it('has a case for every kernel of the contract', () => {
  expect(kernelsWithoutCase()).toEqual([]);
});

interface CpuBackend extends tf.KernelBackend {
  readonly data: { get(id: object): { values: Float32Array } };
  makeTensorInfo(shape: number[], dtype: string, values: Float32Array): tf.TensorInfo;
}

/** What the suite says of a kernel of SpftSwiglu on a copy of the cpu backend. */
async function saidOf(
  kernel: (backend: CpuBackend, gate: Float32Array, up: Float32Array, info: tf.TensorInfo) => tf.TensorInfo,
): Promise<string[]> {
  const said: string[] = [];
  const tests: [string, () => void | Promise<void>][] = [];
  registerSpftKernels<CpuBackend>('cpu', {
    SpftSwiglu: ({ backend, inputs: { gate, up } }) =>
      kernel(backend, backend.data.get(gate.dataId).values, backend.data.get(up.dataId).values, gate),
  });
  const only: KernelName[] = ['SpftSwiglu'];
  describeConformance({
    ...{ backend: 'cpu', only },
    describe: (_, body) => body(),
    it: (name, body) => tests.push([name, body]),
  });
  for (const [, body] of tests) {
    try {
      await body();
    } catch (error) {
      said.push((error as Error).message);
    }
  }
  return said;
}

const silu = (z: number) => z / (1 + Math.exp(-z));

describe('describeConformance()', () => {
  it('passes a kernel that is right', async () => {
    expect(kernelsOf('cpu')).toContain('SpftSwiglu');
    const said = await saidOf((backend, gate, up, { shape }) =>
      backend.makeTensorInfo(
        shape,
        'float32',
        gate.map((z, i) => silu(z) * up[i]!),
      ),
    );
    expect(said).toEqual([]);
  });

  it('finds wrong numbers', async () => {
    const said = await saidOf((backend, gate, up, { shape }) =>
      backend.makeTensorInfo(
        shape,
        'float32',
        gate.map((z, i) => (i === 20 ? 0 : silu(z) * up[i]!)),
      ),
    );
    expect(said[0]).toMatch(/^output 0: off by .*\[20\] 0 for /);
  });

  it('finds wrong shapes, changed inputs, and an output that is an input', async () => {
    const make = (gate: Float32Array, up: Float32Array) => gate.map((z, i) => silu(z) * up[i]!);
    const shapes = await saidOf((backend, gate, up) =>
      backend.makeTensorInfo([gate.length], 'float32', make(gate, up)),
    );
    expect(shapes[0]).toBe('SpftSwiglu: output y is [35], the contract says [T, I]');
    const inputs = await saidOf((backend, gate, up, { shape }) => {
      const y = make(gate, up);
      gate.fill(0);
      return backend.makeTensorInfo(shape, 'float32', y);
    });
    expect(inputs[0]).toBe('SpftSwiglu: gate was changed');
    const alias = await saidOf((backend, _, __, info) => {
      backend.incRef(info.dataId);
      return { ...info };
    });
    expect(alias[0]).toContain('is its input gate, the contract says memory of its own');
  });

  it('finds what a failed allocation leaves, where a kernel is registered with tfjs directly', async () => {
    tf.unregisterKernel('SpftSwiglu', 'cpu');
    tf.registerKernel({
      kernelName: 'SpftSwiglu',
      backendName: 'cpu',
      kernelFunc: ({ inputs, backend }) => {
        const { gate, up } = inputs as Record<'gate' | 'up', tf.TensorInfo>;
        const cpu = backend as CpuBackend;
        const [g, u] = [gate, up].map(({ dataId }) => cpu.data.get(dataId).values) as [Float32Array, Float32Array];
        const scratch = cpu.makeTensorInfo(gate.shape, 'float32', g.map(silu));
        const y = cpu.makeTensorInfo(
          gate.shape,
          'float32',
          cpu.data.get(scratch.dataId).values.map((z, i) => z * u[i]!),
        );
        cpu.disposeData(scratch.dataId);
        return y;
      },
    });
    const said: string[] = [];
    const tests: (() => void | Promise<void>)[] = [];
    describeConformance({
      ...{ backend: 'cpu', only: ['SpftSwiglu'], describe: (_, body) => body(), it: (_, body) => tests.push(body) },
    });
    for (const body of tests) {
      try {
        await body();
      } catch (error) {
        said.push((error as Error).message);
      }
    }
    expect(said[0]).toMatch(/^SpftSwiglu: allocation 2 failed, and left tensors or references/);
  });
});
