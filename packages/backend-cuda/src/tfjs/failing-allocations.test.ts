/** @file tfjs's own ops on `cuda` where one of their allocations fails, each in turn: nothing is left, and the next call is right. */
import * as tf from '@tensorflow/tfjs';
import { expect, it } from 'vitest';
import { cuda, describeCuda } from '../../test/cuda.js';
import { failAllocation } from '../../test/failing-allocations.js';
import { CudaOutOfMemoryError } from '../index.js';

const matrix = (rows: number, columns: number, seed: number) => tf.randomNormal([rows, columns], 0, 1, 'float32', seed);
const ints = (...values: number[]) => tf.tensor1d(values, 'int32');

/** Ops, most of which allocate more than their result: for what they convert, transpose, or do in steps. */
const OPS: Readonly<Record<string, readonly [() => tf.Tensor[], (...t: tf.Tensor[]) => tf.Tensor | tf.Tensor[]]>> = {
  add: [() => [matrix(5, 7, 1), matrix(1, 7, 2)], (a, b) => tf.add(a!, b!)],
  addN: [() => [matrix(5, 7, 1), matrix(5, 7, 2), matrix(5, 7, 3)], (...all) => tf.addN(all)],
  argMax: [() => [matrix(5, 7, 1)], (x) => tf.argMax(x!, 1)],
  batchMatMul: [
    () => [tf.reshape(matrix(6, 4, 1), [2, 3, 4]), tf.reshape(matrix(4, 5, 2), [1, 4, 5])],
    (a, b) => tf.matMul(a!, b!),
  ],
  cast: [() => [matrix(5, 7, 1)], (x) => tf.cast(x!, 'int32')],
  concat: [() => [matrix(5, 7, 1), matrix(3, 7, 2)], (a, b) => tf.concat([a!, b!])],
  cumsum: [() => [matrix(5, 7, 1)], (x) => tf.cumsum(x!, 1, true, true)],
  einsum: [() => [matrix(3, 4, 1), matrix(4, 5, 2)], (a, b) => tf.einsum('ij,jk->ki', a!, b!)],
  fusedMatMul: [
    () => [matrix(3, 4, 1), matrix(4, 5, 2), matrix(1, 5, 3)],
    (a, b, bias) => tf.fused.matMul({ a: a!, b: b!, bias: bias!, activation: 'relu' }),
  ],
  gather: [() => [matrix(5, 7, 1), ints(4, 0, 4)], (x, at) => tf.gather(x!, at as tf.Tensor1D, 0)],
  logSoftmax: [() => [matrix(5, 7, 1)], (x) => tf.logSoftmax(x!)],
  max: [() => [matrix(5, 7, 1)], (x) => tf.max(x!, 0)],
  mean: [() => [tf.reshape(matrix(6, 20, 1), [2, 3, 20])], (x) => tf.mean(x!, [0, 2])],
  oneHot: [() => [ints(1, 0, 2)], (x) => tf.oneHot(x!, 4)],
  prod: [() => [matrix(5, 7, 1)], (x) => tf.prod(x!, 1)],
  scatter: [() => [tf.reshape(ints(1, 3), [2, 1]), matrix(2, 7, 1)], (at, x) => tf.scatterND(at!, x!, [5, 7])],
  slice: [() => [matrix(5, 7, 1)], (x) => tf.slice(x!, [1, 2], [3, 4])],
  softmax: [() => [matrix(5, 7, 1)], (x) => tf.softmax(x!)],
  split: [() => [matrix(6, 7, 1)], (x) => tf.split(x!, 3)],
  squaredDifference: [() => [matrix(5, 7, 1), tf.scalar(2)], (a, b) => tf.squaredDifference(a!, b!)],
  stack: [() => [matrix(5, 7, 1), matrix(5, 7, 2)], (a, b) => tf.stack([a!, b!], 1)],
  sum: [() => [tf.reshape(matrix(6, 20, 1), [2, 3, 20])], (x) => tf.sum(x!, 1)],
  tile: [() => [matrix(5, 7, 1)], (x) => tf.tile(x!, [2, 3])],
  topk: [
    () => [matrix(3, 40, 1)],
    (x) => {
      const { values, indices } = tf.topk(x!, 5);
      return [values, indices];
    },
  ],
  transpose: [() => [tf.reshape(matrix(6, 20, 1), [2, 3, 20])], (x) => tf.transpose(x!, [2, 0, 1])],
  where: [
    () => [tf.cast(matrix(5, 7, 1), 'bool'), matrix(5, 7, 2), matrix(5, 7, 3)],
    (c, a, b) => tf.where(c!, a!, b!),
  ],
};

describeCuda('where an allocation fails', () => {
  it.each(Object.entries(OPS))('%s leaves nothing, and is right the next time', (_, [make, op]) => {
    const run = (inputs: tf.Tensor[]) => tf.tidy(() => [op(...inputs)].flat());
    const read = (outputs: tf.Tensor[]) => outputs.map((t) => [...t.dataSync()]);
    const inputs = make();
    const first = run(inputs);
    const expected = read(first);
    tf.dispose(first);
    const state = () => [tf.memory().numTensors, cuda().numDataIds(), cuda().memoryPool.bytes];
    const before = state();
    let failures = 0;
    for (let nth = 1; nth < 100; nth++) {
      const end = failAllocation(nth);
      let made: tf.Tensor[] | null = null;
      try {
        made = run(inputs);
      } catch (error) {
        expect(error).toBeInstanceOf(CudaOutOfMemoryError);
        failures++;
      }
      const came = end();
      if (made) {
        expect(read(made)).toEqual(expected);
        tf.dispose(made);
      }
      expect(state()).toEqual(before);
      if (!came) break;
    }
    // Some make views and nothing else.
    if (!['split', 'slice'].includes(_)) expect(failures).toBeGreaterThan(0);
    tf.dispose(inputs);
  });
});
