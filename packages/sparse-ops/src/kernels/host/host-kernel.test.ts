import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../../test/support/allclose.js';
import { useBackend } from '../../../../../test/support/backends.js';
import { expectNoLeak } from '../../../../../test/support/leaks.js';
import { hostKernelFunc } from './host-kernel.js';

const register = (kernelName: string, kernel: Parameters<typeof hostKernelFunc>[0]) => {
  for (const backendName of ['cpu', 'wasm']) {
    tf.registerKernel({ kernelName, backendName, kernelFunc: hostKernelFunc(kernel) });
  }
};
register('TestOneOutput', {
  outputs: ({ x }) => ({ shape: x!.shape, dtype: 'float32' }),
  run: ({ x }, [y], attributes, shapes) => {
    const { times } = attributes as { times: number };
    for (let i = 0; i < y!.length; i++) y![i] = x![i]! * times + shapes.x!.shape[0]!;
  },
});
register('TestTwoOutputs', {
  outputs: ({ x }) => [
    { shape: [x!.shape[0]!, 1], dtype: 'int32' },
    { shape: [2 ** 22], dtype: 'float32' },
  ],
  run: ({ x }, [first, large]) => {
    for (let i = 0; i < first!.length; i++) first![i] = x![i]! + 1;
    large!.fill(x![0]!);
  },
});
const runKernel = (name: string, x: tf.Tensor, attributes: object = {}) =>
  tf.engine().runKernel(name, { x }, attributes as never) as tf.Tensor | tf.Tensor[];

describe.each(['cpu', 'wasm'])('hostKernelFunc() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('gives the loop its inputs, attributes and shapes', () => {
    const y = runKernel('TestOneOutput', tf.tensor1d([1, 2, 3]), { times: 10 }) as tf.Tensor;
    expect([y.shape, y.dtype]).toEqual([[3], 'float32']);
    expectAllClose('y', y, [13, 23, 33]);
  });

  it('gives empty tensors', () => {
    const y = runKernel('TestOneOutput', tf.zeros([0]), { times: 1 }) as tf.Tensor;
    expect(y.shape).toEqual([0]);
  });

  it('reads and writes int32, and has views that outlive the growth of the heap for its outputs', () => {
    for (let n = 0; n < 6; n++) {
      const [first, large] = runKernel('TestTwoOutputs', tf.tensor1d([7, 8], 'int32')) as tf.Tensor[];
      expect([first!.shape, first!.dtype]).toEqual([[2, 1], 'int32']);
      expectAllClose('first', first!, [8, 9]);
      expectAllClose('large', tf.slice(large!, 2 ** 22 - 2, 2), [7, 7]);
    }
  });

  it('reads a tensor that was made on another backend', async () => {
    await useBackend('cpu');
    const x = tf.tensor1d([1, 2]);
    await useBackend(backend);
    expectAllClose('y', runKernel('TestOneOutput', x, { times: 1 }) as tf.Tensor, [3, 4]);
  });

  it('leaves its outputs alone', async () => {
    const x = tf.tensor1d([1, 2], 'int32');
    await expectNoLeak(() => runKernel('TestTwoOutputs', x), 2);
  });
});
