import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { registerSpftKernels } from '../contract/register.js';
import { storedLike, storedTensor, takesStored } from './stored-tensor.js';

interface CpuBackend extends tf.KernelBackend {
  makeTensorInfo(shape: number[], dtype: string, values: Float32Array): tf.TensorInfo;
}

const bytes = () => new Uint8Array(Float32Array.of(1, 2, 3, 4).buffer);

describe('storedTensor()', () => {
  beforeAll(() => useBackend('cpu'));
  afterEach(() => {
    if (tf.getKernel('SpftStoredTensor', 'cpu')) tf.unregisterKernel('SpftStoredTensor', 'cpu');
  });
  const register = () =>
    registerSpftKernels<CpuBackend>('cpu', {
      SpftStoredTensor: ({ backend, attributes: { bytes, shape } }) =>
        backend.makeTensorInfo([...shape], 'float32', new Float32Array(bytes.slice().buffer)),
    });

  it('is refused, with what to do, where the backend takes no stored bytes', () => {
    expect(takesStored('F32')).toBe(false);
    expect(() => storedTensor(bytes(), 'F32', [2, 2])).toThrow(
      "storedTensor: backend 'cpu' takes no stored bytes; give it float32 values",
    );
  });

  it('is what the kernel makes of the bytes, and a constant of gradients', async () => {
    register();
    const made = storedTensor<tf.Tensor2D>(bytes(), 'F32', [2, 2]);
    expect(made.shape).toEqual([2, 2]);
    expectAllClose('values', made, [1, 2, 3, 4]);
    const dx = tf.grad((x) => tf.mul(x, storedTensor(bytes(), 'F32', [2, 2])))(tf.ones([2, 2]));
    expectAllClose('dx', dx, [1, 2, 3, 4]);
    await expectNoLeak(() => storedTensor(bytes(), 'F32', [2, 2]), 1);
  });

  it('knows the element types of files that it takes', () => {
    register();
    expect(['BF16', 'F16', 'F32', 'F64', 'I8', undefined].map(takesStored)).toEqual([
      ...[true, true, true, false, false, false],
    ]);
  });
});

describe('storedLike()', () => {
  beforeAll(() => useBackend('cpu'));

  it('is the tensor once more where the backend stores all alike, owned by the caller', async () => {
    const [x, like] = [tf.tensor1d([1, 2]), tf.zeros([3])];
    const y = storedLike(x, like);
    expect(y).not.toBe(x);
    expectAllClose('y', y, [1, 2]);
    await expectNoLeak(() => storedLike(x, like), 1);
  });
});
