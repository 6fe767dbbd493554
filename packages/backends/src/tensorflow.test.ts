/** @file The backend `tensorflow`, where it is installed: `bash scripts/tensorflow/build.sh`. */
import * as tf from '@tensorflow/tfjs';
import { afterAll, describe, expect, it } from 'vitest';
import { tensorflowMissing } from '../../../test/support/backends.js';
import { activateBackend, probeBackends } from './index.js';

const before = tf.getBackend();
const missing = await tensorflowMissing();

describe.skipIf(missing !== null)(`tensorflow${missing ? ` (skipped: ${missing})` : ''}`, () => {
  afterAll(() => tf.setBackend(before || 'cpu'));

  it('leaves the active backend alone until it is chosen, though its package makes itself active', () => {
    expect(tf.getBackend()).toBe(before);
  });

  it('computes, on every version of Node', async () => {
    const { name, why } = await activateBackend('tensorflow');
    expect(why).toMatch(
      /^tensorflow \(asked for by name\): @tensorflow\/tfjs-node(-gpu)? 4\.\d+\.\d+, on (the processor|a GPU)$/,
    );
    expect(tf.getBackend()).toBe(name);
    const x = tf.tensor2d([3, 1, 2, 6, 5, 4], [2, 3]);
    const { values, indices } = tf.topk(x, 2);
    expect([...values.dataSync(), ...indices.dataSync()]).toEqual([3, 2, 6, 5, 0, 2, 0, 1]);
    const gradient = tf.grad((x) => tf.sum(tf.square(tf.matMul(x, x, true))))(x);
    expect([...gradient.dataSync()].every(Number.isFinite)).toBe(true);
    expect([...tf.concat([tf.slice(x, [0, 1], [2, 2]), tf.gather(x, [2, 0], 1)], 1).dataSync()]).toEqual([
      ...[1, 2, 2, 3],
      ...[5, 4, 4, 6],
    ]);
  });

  it('says so in a report', async () => {
    const report = (await probeBackends()).find(({ name }) => name === 'tensorflow');
    expect(report?.probe).toMatchObject({ available: true });
  });
});
