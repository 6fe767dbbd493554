import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../../test/support/allclose.js';
import { useBackend } from '../../../../../test/support/backends.js';
import { batchedMatMulReference } from '../../engine/batched-matmul.reference.js';
import { roomFor, WasmHeap } from './wasm-heap.js';

const numbers = (size: number, seed: number) =>
  tf.randomNormal([size], 0, 1, 'float32', seed).dataSync() as Float32Array;

describe('WasmHeap', () => {
  beforeAll(() => useBackend('wasm'));

  it('multiplies matrices where they lie, anew when their content has changed', () => {
    const [m, k, n] = [5, 7, 3];
    const heap = new WasmHeap(tf.backend(), roomFor(m * k, k * n, m * n));
    const [a, b, out] = [heap.take(m * k), heap.take(k * n), heap.take(m * n)];
    for (const seed of [1, 2]) {
      const [aValues, bValues] = [numbers(m * k, seed), numbers(k * n, seed + 10)];
      heap.f32.set(aValues, a);
      heap.f32.set(bValues, b);
      heap.multiply(a, b, out, m, k, n);
      const expected = batchedMatMulReference(aValues, bValues, [1, m, k, n], false, false);
      expectAllClose('product', heap.f32.slice(out, out + m * n), expected);
    }
    heap.free();
  });

  it('takes softmax of rows', () => {
    const heap = new WasmHeap(tf.backend(), roomFor(6, 6));
    const [x, out] = [heap.take(6), heap.take(6)];
    heap.f32.set([0, Math.log(3), -1e30, 5, 5, -1e30], x);
    heap.softmax(x, out, 2, 3);
    expectAllClose('softmax', heap.f32.slice(out, out + 6), [0.25, 0.75, 0, 0.5, 0.5, 0]);
    heap.free();
  });

  it('stays right when the heap grows', () => {
    const heap = new WasmHeap(tf.backend(), roomFor(1, 1, 1));
    const [a, b, out] = [heap.take(1), heap.take(1), heap.take(1)];
    heap.f32[a] = 3;
    const { buffer } = heap.f32;
    const large: tf.Tensor[] = [];
    while (heap.f32.buffer === buffer && large.length < 64) large.push(tf.zeros([2 ** 22]));
    expect(heap.f32.buffer).not.toBe(buffer);
    heap.f32[b] = 4;
    heap.multiply(a, b, out, 1, 1, 1);
    expect(heap.f32[out]).toBe(12);
    heap.free();
    tf.dispose(large);
  });

  it('gives everything back', () => {
    const backend = tf.backend() as tf.KernelBackend & { numDataIds(): number };
    const before = backend.numDataIds();
    const heap = new WasmHeap(backend, roomFor(4, 4, 4));
    const [a, b, out] = [heap.take(4), heap.take(4), heap.take(4)];
    heap.f32.fill(1, a, out + 4);
    heap.multiply(a, b, out, 2, 2, 2);
    heap.softmax(a, out, 2, 2);
    heap.free();
    expect(backend.numDataIds()).toBe(before);
  });
});
