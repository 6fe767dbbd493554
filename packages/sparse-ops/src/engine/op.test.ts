import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { hasKernel, runOp, withoutKernels } from './op.js';

const NAME = 'SpftTopKSelection';
const run = (scores: tf.Tensor) => runOp(NAME, { scores }, { kept: 5 }, () => tf.add(scores, tf.scalar(0)));

describe('runOp()', () => {
  beforeAll(() => useBackend('cpu'));
  afterEach(() => {
    if (tf.getKernel(NAME, 'cpu')) tf.unregisterKernel(NAME, 'cpu');
  });
  /** A kernel that a backend might bring: plus 5. */
  const register = (backendName = 'cpu') =>
    tf.registerKernel({
      kernelName: NAME,
      backendName,
      kernelFunc: ({ inputs, attrs, backend }) => {
        const { scores: x } = inputs as { scores: tf.TensorInfo };
        const memory = backend as {
          data: { get(id: object): { values: Float32Array } };
          makeTensorInfo(shape: number[], dtype: string, values: Float32Array): tf.TensorInfo;
        };
        const values = memory.data.get(x.dataId).values.map((v) => v + (attrs as { kept: number }).kept);
        return memory.makeTensorInfo(x.shape, 'float32', values);
      },
    });

  it('runs the composition where the active backend has no kernel', () => {
    register('another');
    expect(hasKernel(NAME)).toBe(false);
    expectAllClose('y', run(tf.tensor1d([1, 2])), [1, 2]);
    tf.unregisterKernel(NAME, 'another');
  });

  it("runs the active backend's kernel with inputs and attributes where it has one", () => {
    register();
    expect(hasKernel(NAME)).toBe(true);
    expectAllClose('y', run(tf.tensor1d([1, 2])), [6, 7]);
  });

  it('runs the composition all the same in withoutKernels', () => {
    register();
    expectAllClose(
      'y',
      withoutKernels(() => run(tf.tensor1d([1, 2]))),
      [1, 2],
    );
    expect(hasKernel(NAME)).toBe(true);
  });

  it('allows kernels again after an error', () => {
    register();
    expect(() =>
      withoutKernels(() => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(hasKernel(NAME)).toBe(true);
  });

  it('leaves the output alone, either way', async () => {
    const x = tf.tensor1d([1, 2]);
    await expectNoLeak(() => run(x), 1);
    register();
    await expectNoLeak(() => run(x), 1);
  });
});
