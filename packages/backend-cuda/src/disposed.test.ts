/** @file Tensors that are used after they were disposed of: an error that says so, and never what has taken their memory since. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { cuda, describeCuda } from '../test/cuda.js';
import { CudaDisposedError } from './index.js';

/** Kernels get what they are given, whether it lives or not: tfjs looks at few of them itself. */
const info = ({ dataId, shape, dtype }: tf.Tensor): tf.TensorInfo => ({ dataId, shape, dtype });

describeCuda('a tensor that was disposed of', () => {
  it.each([
    ['made by a kernel', () => tf.add(tf.ones([3, 2]), 1)],
    ['uploaded', () => tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2])],
    ['of one number, which is on the host', () => tf.scalar(4)],
    ['that shares its memory with one that lives', () => tf.reshape(tf.ones([6]), [3, 2])],
  ])('%s has no address, and no kernel takes it', (_, make) => {
    const [lives, gone] = tf.tidy(() => [tf.ones([3, 2]), make()]);
    const shape = gone!.shape;
    gone!.dispose();
    const [bytes, count] = [cuda().memoryPool.bytes, tf.memory().numTensors];
    expect(() => cuda().address(info(gone!))).toThrow(CudaDisposedError);
    expect(() => cuda().view(info(gone!), shape)).toThrow(CudaDisposedError);
    expect(() => cuda().derived(info(gone!), 'nothing', 4, () => undefined)).toThrow(CudaDisposedError);
    expect(() => cuda().readSync(gone!.dataId)).toThrow(CudaDisposedError);
    // A number from the host goes to kernels by value, which reads no memory.
    if (shape.length > 0) {
      const add = () => tf.engine().runKernel(tf.Add, { a: info(lives!), b: info(gone!) } as never);
      expect(add).toThrow(`Add: a tensor [${shape}] of float32 was disposed of and is used again`);
    }
    expect([cuda().memoryPool.bytes, tf.memory().numTensors]).toEqual([bytes, count]);
    expect([...lives!.dataSync()]).toEqual([1, 1, 1, 1, 1, 1]);
    lives!.dispose();
  });

  it('is refused too where it came from another backend', async () => {
    await tf.setBackend('cpu');
    const moved = tf.tensor1d([1, 2, 3]);
    await tf.setBackend('cuda');
    tf.engine().moveData(cuda(), moved.dataId);
    expect(cuda().address(info(moved))).toBeGreaterThan(0);
    const gone = info(moved);
    moved.dispose();
    expect(() => cuda().address(gone)).toThrow(CudaDisposedError);
  });

  it('can be read to its end where it was asked for before', async () => {
    const x = tf.tidy(() => tf.mul(tf.range(0, 100_000), 2));
    const reading = x.data();
    x.dispose();
    // Something else takes its memory, if it is free.
    const other = tf.fill([100_000], 7);
    expect((await reading)[99_999]).toBe(199_998);
    other.dispose();
  });
});
