/**
 * @file Frozen matrices in 16 bits: whatever reads one gets the bits that it gets of the same matrix in float32, and afterwards all memory is free. Our own
 * kernels are held to the contract on such matrices in spft/conformance.test.ts.
 */
import { storedTensor } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { describeWebGPU, useWebGPU, webgpu } from '../../test/webgpu.js';
import { WebGPUStepRecorder } from '../recording/step-recorder.js';

const ALL = Uint16Array.from({ length: 65536 }, (_, bits) => bits);

/** Some numbers of every exponent but the ends, in bf16. */
const SOME = Uint16Array.from({ length: 35 }, (_, n) => ((n % 3 === 0 ? 0x8000 : 0) | (0x3e80 + 37 * n)) & 0xffff);

const bytesOf = (values: Uint16Array) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

function stored(values: Uint16Array, type: 'BF16' | 'F16', shape: readonly number[], inHalves = true): tf.Tensor2D {
  webgpu().storesHalves = inHalves;
  try {
    return storedTensor(bytesOf(values), type, shape);
  } finally {
    webgpu().storesHalves = true;
  }
}

const bits = async (x: tf.Tensor) => {
  const values = await x.data();
  return values instanceof Float32Array
    ? [...new Uint32Array(values.buffer, values.byteOffset, values.length)]
    : [...values];
};

const code = (x: tf.Tensor) => webgpu().halves.codeOf(x);

/** What reads a matrix [5, 7] of tfjs's own. Each gives one tensor. */
const READERS: Readonly<Record<string, (x: tf.Tensor2D) => tf.Tensor>> = {
  'itself, read': (x) => tf.clone(x),
  reshape: (x) => tf.reshape(x, [7, 5]),
  'reshape to more dimensions': (x) => tf.reshape(x, [1, 5, 7]),
  transpose: (x) => tf.transpose(x),
  slice: (x) => tf.slice(x, [1, 2], [3, 3]),
  'slice of all': (x) => tf.slice(x, [0, 0], [5, 7]),
  gather: (x) => tf.gather(x, tf.tensor1d([4, 0, 4], 'int32')),
  concat: (x) => tf.concat([x, x]),
  'concat of one': (x) => tf.concat([x]),
  stack: (x) => tf.stack([x, tf.add(x, 1)]),
  unstack: (x) => tf.unstack(x)[2]!,
  split: (x) => tf.split(x, [2, 3])[1]!,
  pad: (x) =>
    tf.pad(x, [
      [1, 0],
      [0, 2],
    ]),
  tile: (x) => tf.tile(x, [2, 1]),
  add: (x) => tf.add(x, x),
  'mul by one': (x) => tf.mul(x, 1),
  addN: (x) => tf.addN([x, x, x]),
  square: (x) => tf.square(x),
  sum: (x) => tf.sum(x),
  'sum along rows': (x) => tf.sum(x, 1),
  max: (x) => tf.max(x),
  norm: (x) => tf.norm(x),
  argMax: (x) => tf.argMax(x, 1),
  'cast to int32': (x) => tf.cast(x, 'int32'),
  'cast to bool': (x) => tf.cast(x, 'bool'),
  where: (x) => tf.where(tf.greater(x, 0), x, tf.zerosLike(x)),
  matMul: (x) => tf.matMul(x, x, false, true),
  dot: (x) => tf.dot(x, tf.ones([7])),
  softmax: (x) => tf.softmax(x),
  scatterND: (x) => tf.scatterND(tf.tensor2d([[2], [0], [1], [4], [3]], [5, 1], 'int32'), x, [5, 7]),
  tensorScatterUpdate: (x) => tf.tensorScatterUpdate(x, tf.tensor2d([[3]], [1, 1], 'int32'), tf.ones([1, 7])),
  cumsum: (x) => tf.cumsum(x, 1),
  reverse: (x) => tf.reverse(x, 0),
  'a variable': (x) => tf.add(tf.variable(x), 0),
  'a gradient': (x) => tf.grad((y) => tf.sum(tf.mul(y, x)))(tf.ones([5, 7])),
};

describeWebGPU('frozen matrices in 16 bits', () => {
  beforeAll(useWebGPU);
  afterEach(() => webgpu().flush());

  it.each(['BF16', 'F16'] as const)('hold every number of %s, in half the memory', async (type) => {
    webgpu().flush();
    const before = webgpu().memory().numBytesInGPU;
    const halves = stored(ALL, type, [256, 256]);
    // What it came by is given back with the commands.
    webgpu().flush();
    expect(webgpu().memory().numBytesInGPU - before).toBe(2 * 65536);
    const plain = stored(ALL, type, [256, 256], false);
    expect([halves, plain].map(code)).toEqual([type === 'BF16' ? 1 : 2, 0]);
    expect([halves.dtype, halves.shape]).toEqual(['float32', [256, 256]]);
    // Not by way of an op that computes, which may make others of numbers that are none, or of the smallest.
    expect(await bits(halves)).toEqual(await bits(plain));
    tf.dispose([halves, plain]);
    webgpu().flush();
    expect(webgpu().memory().numBytesInGPU).toBe(before);
  });

  it('are of matrices in 16 bits alone, and of those not where it is switched off', async () => {
    const made = [
      stored(SOME, 'BF16', [5, 7]),
      stored(SOME, 'BF16', [35]),
      storedTensor(new Uint8Array(Float32Array.from(SOME).buffer), 'F32', [5, 7]),
      stored(SOME, 'BF16', [5, 7], false),
      stored(new Uint16Array(), 'BF16', [0, 7]),
    ];
    expect(made.map(code)).toEqual([1, 0, 0, 0, 0]);
    expect(await bits(made[1]!)).toEqual(await bits(made[0]!));
    expect(await bits(made[4]!)).toEqual([]);
    tf.dispose(made);
    expect(() => stored(SOME, 'BF16', [5, 6])).toThrow('takes 60 bytes and at least one number, got 70 bytes');
  });

  it('are not what their bytes become later', async () => {
    const values = SOME.slice();
    const x = stored(values, 'BF16', [5, 7]);
    const before = await bits(x);
    values.fill(0);
    expect(await bits(x)).toEqual(before);
    x.dispose();
  });

  it.each(Object.entries(READERS))('%s: as of float32', async (_, read) => {
    webgpu().flush();
    const before = [tf.memory().numTensors, webgpu().numDataIds(), webgpu().memory().numBytesInGPU];
    const results: number[][] = [];
    for (const inHalves of [true, false]) {
      const x = stored(SOME, 'BF16', [5, 7], inHalves);
      expect(code(x)).toBe(inHalves ? 1 : 0);
      const variables = new Set(Object.values(tf.engine().registeredVariables));
      const y = tf.tidy(() => read(x));
      results.push(await bits(y));
      for (const variable of Object.values(tf.engine().registeredVariables)) {
        if (!variables.has(variable)) variable.dispose();
      }
      tf.dispose([x, y]);
    }
    expect(results[0]).toEqual(results[1]);
    webgpu().flush();
    expect([tf.memory().numTensors, webgpu().numDataIds(), webgpu().memory().numBytesInGPU]).toEqual(before);
  });

  it('are given to others on the GPU in float32', async () => {
    const x = stored(SOME, 'BF16', [5, 7]);
    const expected = await bits(x);
    const { buffer, tensorRef } = x.dataToGPU() as { buffer: GPUBuffer; tensorRef: tf.Tensor };
    expect(buffer.size).toBe(4 * 35);
    expect(await bits(tensorRef)).toEqual(expected);
    tf.dispose([x, tensorRef]);
  });

  it('are not written to, by an optimizer, say', async () => {
    const x = stored(SOME, 'BF16', [5, 7]);
    const g = tf.ones([5, 7]);
    const before = await bits(x);
    const attributes = { count: 1, learningRate: 0.1, weightDecay: 0, momentum: 0 };
    expect(() => tf.engine().runKernel('SpftSgd', { p0: x, g0: g } as never, attributes as never)).toThrow(
      /a frozen matrix \[5,7\], stored in 16 bits, would be written to \(sgd .*train a copy of it/,
    );
    expect(await bits(x)).toEqual(before);
    tf.dispose([x, g]);
  });

  it('are read by recorded steps, by kernels of tfjs too', async () => {
    const x = stored(SOME, 'BF16', [5, 7]);
    webgpu().flush();
    const held = [webgpu().numDataIds(), webgpu().memory().numBytesInGPU];
    const messages: string[] = [];
    const recorder = new WebGPUStepRecorder(webgpu(), { notify: (message) => messages.push(message) });
    const step = (values: number[]) =>
      recorder.run('a', { values: Float32Array.from(values) }, ({ values }) =>
        tf.tidy(() => [tf.add(tf.matMul(x, tf.tensor2d(values as Float32Array, [7, 1])), tf.sum(x))]),
      );
    for (let n = 0; n < 4; n++) {
      const values = [1, 2, 3, 4, 5, 6, 7].map((value) => value + n);
      const [found] = step(values);
      const plain = tf.tidy(() => tf.add(tf.matMul(tf.mul(x, 1), tf.tensor2d(values, [7, 1])), tf.sum(x)));
      expect(await bits(found!)).toEqual(await bits(plain));
      tf.dispose([found!, plain]);
    }
    expect(messages).toEqual([]);
    expect(recorder.counts).toMatchObject({ recorded: 1, replayed: 3 });
    recorder.dispose();
    webgpu().flush();
    expect([webgpu().numDataIds(), webgpu().memory().numBytesInGPU]).toEqual(held);
    x.dispose();
  });
});
