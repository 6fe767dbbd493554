import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { runOp } from '../engine/op.js';
import '../index.js';
import type { KernelEntry } from './entry.js';
import { readSlot } from './entry.js';
import { KernelContractError } from './errors.js';
import { CONTRACT, isKernelName, KERNEL_NAMES, type SpftKernels } from './kernels.js';
import { checkBackend, registerSpftKernels } from './register.js';

/** What is used of tfjs's cpu backend. */
interface CpuBackend extends tf.KernelBackend {
  readonly data: { get(id: object): { values: Float32Array } };
  makeTensorInfo(shape: number[], dtype: string, values: Float32Array): tf.TensorInfo;
}

const norms: SpftKernels<CpuBackend>['SpftColumnNorms'] = ({ backend, inputs: { x } }) =>
  backend.makeTensorInfo([x.shape[1]!], 'float32', new Float32Array(x.shape[1]!).fill(7));

const registered = (backendName: string) =>
  tf
    .getKernelsForBackend(backendName)
    .map(({ kernelName }) => kernelName)
    .filter((name) => name.startsWith('Spft'));

describe('CONTRACT', () => {
  it('has entries that can be read, with gradients and needs that are entries', () => {
    for (const name of KERNEL_NAMES) {
      const { inputs, outputs, gradient, needs = [], shares = {} }: KernelEntry = CONTRACT[name];
      const slots = [...inputs, ...outputs].map(readSlot);
      expect(slots.length, name).toBeGreaterThan(0);
      if (gradient && gradient !== 'itself') expect(isKernelName(gradient), `${name}: ${gradient}`).toBe(true);
      for (const other of needs) expect(isKernelName(other), `${name}: ${other}`).toBe(true);
      const made = outputs.map((words) => readSlot(words).name);
      for (const output of Object.keys(shares)) expect(made, name).toContain(output);
    }
  });

  it('is read as it is written', () => {
    expect(readSlot('bias? [out]')).toEqual({ name: 'bias', kind: 'optional', dtype: 'float32', shape: ['out'] });
    expect(readSlot('p# […]')).toEqual({ name: 'p', kind: 'list', dtype: 'float32', shape: null });
    expect(readSlot('rows int32 [R]')).toEqual({ name: 'rows', kind: 'needed', dtype: 'int32', shape: ['R'] });
    expect(readSlot('loss []').shape).toEqual([]);
    expect(() => readSlot('x')).toThrow("internal: 'x' names no input or output");
  });
});

describe('registerSpftKernels()', () => {
  beforeAll(() => useBackend('cpu'));
  afterEach(() => {
    for (const name of registered('mine')) tf.unregisterKernel(name, 'mine');
    if (tf.getKernel('SpftColumnNorms', 'cpu')) tf.unregisterKernel('SpftColumnNorms', 'cpu');
  });

  it('makes ops run the kernels, in the place of what was there', () => {
    registerSpftKernels<CpuBackend>('cpu', { SpftColumnNorms: () => expect.fail('replaced') });
    registerSpftKernels<CpuBackend>('cpu', { SpftColumnNorms: norms });
    const x = tf.ones([3, 2]);
    expectAllClose(
      'norms',
      runOp('SpftColumnNorms', { x }, {}, () => tf.zeros([2])),
      [7, 7],
    );
    x.dispose();
  });

  it('refuses a name that is not in the contract, with the nearest that is, and registers nothing', () => {
    const kernels = { SpftColumnNorms: norms, SpftRmsNrom: norms } as Partial<SpftKernels<CpuBackend>>;
    expect(() => registerSpftKernels('mine', kernels)).toThrow(KernelContractError);
    expect(() => registerSpftKernels('mine', kernels)).toThrow(
      "kernels of backend 'mine': no op calls a kernel 'SpftRmsNrom'; the nearest name of the contract is 'SpftRmsNorm'",
    );
    expect(registered('mine')).toEqual([]);
  });

  it('refuses a forward without the gradient that belongs to it, and takes both, at once or one after the other', () => {
    const none = () => [];
    expect(() => registerSpftKernels('mine', { SpftProjectRows: none })).toThrow(
      "'SpftProjectRows' is never called without 'SpftProjectRowsGrad'; register both or neither",
    );
    expect(() => registerSpftKernels('mine', { SpftRmsNormResidualGrad: norms as never })).toThrow("'SpftRmsNorm'");
    registerSpftKernels('mine', { SpftProjectRows: none, SpftProjectRowsGrad: none });
    registerSpftKernels('mine', { SpftProjectRows: none });
    expect(registered('mine').sort()).toEqual(['SpftProjectRows', 'SpftProjectRowsGrad']);
  });

  it('takes a forward whose gradient is composed without its kernel', () => {
    registerSpftKernels('mine', { SpftSwiglu: norms as never });
    expect(registered('mine')).toEqual(['SpftSwiglu']);
  });

  it('refuses what is no function', () => {
    expect(() => registerSpftKernels('mine', { SpftSwiglu: undefined })).toThrow(
      "the kernel 'SpftSwiglu' of backend 'mine' is no function",
    );
  });
});

describe('checkBackend()', () => {
  it('says what a backend registered that no op will call, and nothing else', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const kernelFunc = () => [];
    tf.registerKernel({ kernelName: 'SpftLinera', backendName: 'others', kernelFunc });
    tf.registerKernel({ kernelName: 'SpftGatedMlp', backendName: 'others', kernelFunc });
    tf.registerKernel({ kernelName: 'SpftLinear', backendName: 'others', kernelFunc });
    tf.registerKernel({ kernelName: 'TheirOwn', backendName: 'others', kernelFunc });
    expect(checkBackend('others')).toEqual([
      "no op calls a kernel 'SpftLinera'; the nearest name of the contract is 'SpftLinear'",
      "'SpftGatedMlp' is never called without 'SpftGatedMlpGrad'; register both or neither",
    ]);
    expect(warn).toHaveBeenCalledTimes(2);
    warn.mockRestore();
    for (const backendName of ['cpu', 'wasm', 'webgl']) expect(checkBackend(backendName)).toEqual([]);
  });
});

describe('a kernel that throws', () => {
  beforeAll(() => useBackend('cpu'));
  afterEach(() => tf.unregisterKernel('SpftColumnNorms', 'cpu'));

  it('gives back what it took: new tensors, references to others, and what kernels within it gave', () => {
    const backend = tf.backend() as CpuBackend;
    registerSpftKernels<CpuBackend>('cpu', {
      SpftColumnNorms: (call) => {
        const { x } = call.inputs;
        call.backend.incRef(x.dataId);
        const gone = call.backend.makeTensorInfo([1], 'float32', new Float32Array(1));
        call.backend.disposeData(gone.dataId);
        call.backend.makeTensorInfo([1], 'float32', new Float32Array(1));
        const transpose = tf.getKernel('SpftTranspose2d', 'cpu')!.kernelFunc;
        transpose({ inputs: { x }, attrs: {}, backend: call.backend });
        throw new Error('no memory left');
      },
    });
    const x = tf.ones([3, 2]);
    const [ids, references] = [backend.numDataIds(), backend.refCount(x.dataId)];
    const run = () => runOp('SpftColumnNorms', { x }, {}, () => tf.zeros([2]));
    expect(() => run()).toThrow('no memory left');
    expect([backend.numDataIds(), backend.refCount(x.dataId)]).toEqual([ids, references]);
    // Nor is anything of it remembered: what is made after it stays.
    const y = tf.square(x);
    expect(() => run()).toThrow('no memory left');
    expectAllClose('y', y, [1, 1, 1, 1, 1, 1]);
    tf.dispose([x, y]);
  });

  it('leaves what a caught failure within it had no part in', () => {
    registerSpftKernels<CpuBackend>('cpu', {
      SpftColumnNorms: ({ backend, inputs }) => {
        const y = norms({ backend, inputs, attributes: {} }) as tf.TensorInfo;
        const turn = tf.getKernel('SpftRope', 'cpu')!.kernelFunc;
        expect(() => turn({ inputs: {}, attrs: {}, backend })).toThrow();
        return y;
      },
    });
    const x = tf.ones([3, 2]);
    expectAllClose(
      'norms',
      runOp('SpftColumnNorms', { x }, {}, () => tf.zeros([2])),
      [7, 7],
    );
  });
});
