import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { isOffTape } from './tfjs-internals.js';
import { activeKernel, runKernelOf, runUpdate, sharing } from './tfjs-kernels.js';

describe('what is run without the engine', () => {
  beforeAll(() => useBackend('cpu'));
  const kernelName = 'SpftTestKernel';
  const register = (kernelFunc: tf.KernelFunc) => tf.registerKernel({ kernelName, backendName: 'cpu', kernelFunc });

  it('activeKernel() is what is registered at the time', () => {
    expect(activeKernel(kernelName)).toBeUndefined();
    const first = { kernelName, backendName: 'cpu', kernelFunc: () => [] };
    tf.registerKernel(first);
    expect(activeKernel(kernelName)).toBe(first);
    tf.unregisterKernel(kernelName, 'cpu');
    expect(activeKernel(kernelName)).toBeUndefined();
    expect(activeKernel('Identity')).toBe(tf.getKernel('Identity', 'cpu'));
  });

  it('runKernelOf() gives what the engine gives, in tensors of the scope, and keeps what a kernel calls from the tape', () => {
    const [x, before] = [tf.tensor1d([-1, 2]), tf.memory().numTensors];
    const seen: boolean[] = [];
    register(({ inputs }) => {
      seen.push(isOffTape());
      return tf.square(inputs.x as tf.Tensor);
    });
    tf.tidy(() => {
      expectAllClose('abs', runKernelOf('Abs', { x }, {}) as tf.Tensor, [1, 2]);
      expectAllClose('square', runKernelOf(kernelName, { x }, {}) as tf.Tensor, [1, 4]);
    });
    expect(seen).toEqual([true]);
    expect(tf.memory().numTensors).toBe(before);
    tf.unregisterKernel(kernelName, 'cpu');
    expect(() => runKernelOf(kernelName, { x }, {})).toThrow('not registered');
    // Where it is recorded it is the engine's.
    expectAllClose('dx', tf.grad((x) => runKernelOf('Square', { x }, {}) as tf.Tensor)(x), [-2, 4]);
    x.dispose();
  });

  it('runKernelOf() leaves the depth as it was where a kernel fails', () => {
    register(() => {
      throw new Error('of the kernel');
    });
    expect(() => runKernelOf(kernelName, {}, {})).toThrow('of the kernel');
    expect(isOffTape()).toBe(false);
    tf.unregisterKernel(kernelName, 'cpu');
  });

  it('tf.profile() sees what runKernelOf() runs', async () => {
    const x = tf.tensor1d([-1]);
    const { kernels } = await tf.profile(() => tf.tidy(() => runKernelOf('Abs', { x }, {}) as tf.Tensor));
    expect(kernels.map(({ name }) => name)).toEqual(['Abs']);
    x.dispose();
  });

  it('sharing() is a clone: it lives as long as either, and is recorded where a clone is', () => {
    const before = tf.memory();
    const x = tf.tensor1d([1, 2]);
    const copy = sharing(x);
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers + 1);
    x.dispose();
    expectAllClose('copy', copy, [1, 2]);
    copy.dispose();
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers);
    expectAllClose('dx', tf.grad((x) => tf.square(sharing(x)))(tf.tensor1d([3])), [6]);
    const complex = tf.complex([1], [2]);
    expectAllClose('real', tf.real(sharing(complex)), [1]);
  });

  it('runUpdate() assigns new values, and takes those that lie in the variable as they are', () => {
    const variable = (...values: number[]) => tf.tidy(() => tf.variable(tf.tensor1d(values)));
    const [first, second] = [variable(1, 2), variable(3)];
    const [before, { dataId }] = [tf.memory(), first];
    register((call) => {
      const { first } = call.inputs as Record<string, tf.TensorInfo>;
      const backend = call.backend as tf.KernelBackend & { data: Map<object, { values: Float32Array }> };
      backend.incRef(first!.dataId);
      backend.data.get(first!.dataId)!.values[0] = 9;
      const { dataId, shape, dtype } = first!;
      return [
        { dataId, shape, dtype },
        { dataId: backend.write(new Float32Array([7]), [1], 'float32'), shape: [1], dtype: 'float32' },
      ];
    });
    for (let n = 0; n < 2; n++) runUpdate(kernelName, { first, second }, {}, [first, second]);
    expect(first.dataId).toBe(dataId);
    expectAllClose('first', first, [9, 2]);
    expectAllClose('second', second, [7]);
    expect(tf.memory().numTensors).toBe(before.numTensors);
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers);
    expect((tf.backend() as unknown as { refCount(id: object): number }).refCount(dataId)).toBe(1);
    tf.unregisterKernel(kernelName, 'cpu');
    tf.dispose([first, second]);
  });
});
