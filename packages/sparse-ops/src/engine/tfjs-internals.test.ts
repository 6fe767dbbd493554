import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { useBackend } from '../../../../test/support/backends.js';
import {
  addTapeNode,
  forgetTape,
  gradientsOnOwnTape,
  isInnerGradient,
  isOffTape,
  offTape,
  shareClonesOnWasm,
} from './tfjs-internals.js';

/** Versions of tfjs with which this file was tried and passed; try a new one before it is added. */
const TRIED = ['4.22.0'];

describe('the internals of tfjs that are used', () => {
  beforeAll(() => useBackend('cpu'));

  it(`are those of a version that was tried: ${TRIED.join(', ')}`, () => {
    expect(TRIED).toContain(tf.version['tfjs-core']);
  });

  it('addTapeNode() gives several outputs a gradient', () => {
    const double = (x: tf.Tensor): [tf.Tensor, tf.Tensor] => {
      const outputs = offTape(() => [tf.mul(x, 2), tf.mul(x, 3)] as [tf.Tensor, tf.Tensor]);
      const saved = [tf.keep(offTape(() => tf.clone(x)))];
      const gradient = (dys: tf.Tensor | tf.Tensor[], [kept]: tf.Tensor[]) => {
        const [first, second] = dys as [tf.Tensor, tf.Tensor];
        expectAllClose('kept', kept!, [5]);
        return { x: () => tf.add(tf.mul(first, 2), tf.mul(second, 3)) };
      };
      addTapeNode('Double', { x }, outputs, gradient, saved, {});
      return outputs;
    };
    const dx = tf.grad((x) => {
      const [a, b] = double(x);
      return tf.add(a, tf.mul(b, 10));
    })(tf.tensor1d([5]));
    expectAllClose('dx', dx, [32]);
  });

  it('addTapeNode() hands a single output its gradient alone', () => {
    let given: unknown = null;
    tf.grad((x) => {
      const y = offTape(() => tf.mul(x, 2));
      const gradient = (dy: tf.Tensor | tf.Tensor[]) => {
        given = dy;
        return { x: () => tf.mul(dy as tf.Tensor, 2) };
      };
      addTapeNode('Twice', { x }, [y], gradient, [], {});
      return y;
    })(tf.tensor1d([5])).dispose();
    expect(given).toBeInstanceOf(tf.Tensor);
  });

  it('offTape() keeps what runs within from the tape, also after an error', () => {
    const dx = tf.grad((x) =>
      tf.mul(
        x,
        offTape(() => tf.mul(x, 1)),
      ),
    )(tf.tensor1d([3]));
    expectAllClose('dx', dx, [3]);
    expect(isOffTape()).toBe(false);
    expect(offTape(isOffTape)).toBe(true);
    expect(() =>
      offTape(() => {
        throw new Error('within');
      }),
    ).toThrow('within');
    expect(isOffTape()).toBe(false);
  });

  it('isInnerGradient() tells a gradient within a gradient', () => {
    const seen: boolean[] = [];
    const op = (x: tf.Tensor) =>
      tf.customGrad((x) => ({
        value: tf.square(x as tf.Tensor),
        gradFunc: (dy: tf.Tensor) => {
          seen.push(isInnerGradient());
          return tf.mul(dy, tf.mul(x as tf.Tensor, 2));
        },
      }))(x);
    tf.grad(op)(tf.tensor1d([3])).dispose();
    expect(seen).toEqual([false]);
    tf.grad((x) => tf.grad(op)(x))(tf.tensor1d([3])).dispose();
    expect(seen).toContain(true);
  });
});

describe('forgetTape() and gradientsOnOwnTape()', () => {
  beforeAll(() => useBackend('cpu'));
  const fails = (): never => {
    throw new Error('in the middle');
  };

  it('give back what a forward that failed had kept', () => {
    const x = tf.tensor1d([1, 2]);
    const before = tf.memory().numTensors;
    const f = (x: tf.Tensor) => tf.tidy(() => tf.mul(tf.exp(tf.square(x)), fails()));
    expect(() => tf.grad(f)(x)).toThrow('in the middle');
    forgetTape();
    expect(tf.memory().numTensors).toBe(before);
    expect(() => gradientsOnOwnTape(() => f(x), [x], x)).toThrow('in the middle');
    expect(tf.memory().numTensors).toBe(before);
    expectAllClose('dx', tf.grad((x) => tf.square(x))(x), [2, 4]);
  });

  it('take a gradient within a backward pass, which goes on after it', () => {
    const op = (x: tf.Tensor) =>
      tf.customGrad((x, save) => {
        (save as tf.GradSaveFunc)([x as tf.Tensor]);
        return {
          value: tf.square(x as tf.Tensor),
          gradFunc: (dy: tf.Tensor, [x]: tf.Tensor[]) => gradientsOnOwnTape(() => tf.square(x!), [x!], dy)[0]!,
        };
      })(x);
    expectAllClose('dx', tf.grad((x) => op(op(x)))(tf.tensor1d([1, 2])), [4, 32]);
    const y = tf.tensor1d([3]);
    expect(gradientsOnOwnTape(() => tf.square(y), [y, tf.tensor1d([1])], tf.ones([1]))[1]).toBeNull();
  });
});

describe('shareClonesOnWasm()', () => {
  beforeAll(async () => {
    await useBackend('wasm');
    shareClonesOnWasm();
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
