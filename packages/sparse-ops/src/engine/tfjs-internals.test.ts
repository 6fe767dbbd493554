import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import { shareClones } from './wasm-identity.js';

describe('shareClones()', () => {
  beforeAll(async () => {
    await useBackend('wasm');
    shareClones();
  });

  it('makes a clone share the memory of its tensor, which lives as long as either', () => {
    const before = tf.memory();
    const x = tf.tensor1d([1, 2, 3]);
    const copy = x.clone();
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers + 1);
    x.dispose();
    expectAllClose('copy', copy, [1, 2, 3]);
    copy.dispose();
    expect(tf.memory().numDataBuffers).toBe(before.numDataBuffers);
    expect(tf.memory().numTensors).toBe(before.numTensors);
  });

  it('keeps a clone apart from the variable whose value is replaced', () => {
    const variable = tf.variable(tf.tensor1d([1, 2]));
    const copy = variable.clone();
    variable.assign(tf.tensor1d([5, 6]));
    expectAllClose('copy', copy, [1, 2]);
    expectAllClose('variable', variable, [5, 6]);
  });

  it('keeps the clones of every dtype, and gradients through clone', () => {
    expectAllClose('int32', tf.tensor1d([1, 2], 'int32').clone(), [1, 2]);
    expectAllClose('bool', tf.tensor1d([true, false], 'bool').clone(), [1, 0]);
    expectAllClose('gradient', tf.grad((x) => tf.square(x.clone()))(tf.scalar(3)), [6]);
  });
});
