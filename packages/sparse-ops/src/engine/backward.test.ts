import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { rmsNormResidual } from '../norm/rms-norm-residual.js';
import { linear } from '../project/linear.js';
import { loraLinear } from '../project/lora-linear.js';
import { valueAndGradients } from './backward.js';
import { gradientsOnOwnTape, recordedOnTape } from './tfjs-internals.js';

const matrix = (rows: number, columns: number, seed: number) =>
  tf.randomNormal([rows, columns], 0, 1, 'float32', seed) as tf.Tensor2D;

describe('valueAndGradients()', () => {
  beforeAll(() => useBackend('cpu'));

  /** A loss in which tensors are read more than once, by ops of tfjs and of this package, and one of them leads nowhere. */
  const lossOf = (x: tf.Tensor2D, weight: tf.Tensor2D, [a, b, scale]: readonly tf.Variable[]) => {
    const [normed, rest] = rmsNormResidual(tf.mul(x, scale!) as tf.Tensor2D, tf.ones([6]), 1e-5);
    const y = loraLinear(normed, linear(normed, weight, null), a as tf.Tensor2D, b as tf.Tensor2D, 0.5);
    const [left, right] = tf.split(tf.add(y, tf.sum(rest)), 2, 1);
    tf.square(a!);
    return tf.mean(tf.mul(left!, tf.add(right!, left!))) as tf.Scalar;
  };

  it('gives the bits of tf.variableGrads, and leaves nothing behind', () => {
    const [x, weight] = [matrix(5, 6, 1), matrix(8, 6, 2)];
    const variables = [matrix(2, 6, 3), matrix(8, 2, 4), matrix(1, 6, 5), matrix(1, 1, 6)].map((t) => tf.variable(t));
    const bits = (tensors: readonly (tf.Tensor | null)[]) => tensors.map((t) => t && [...t.dataSync()]);
    const before = tf.memory().numTensors;
    const run = (take: () => (tf.Tensor | null)[]) => {
      let made: ReturnType<typeof bits> = [];
      tf.tidy(() => {
        made = bits(take());
      });
      expect(tf.memory().numTensors).toBe(before);
      return made;
    };
    const theirs = run(() => {
      const { value, grads } = tf.variableGrads(() => lossOf(x, weight, variables), variables);
      return [value, ...variables.map(({ name }) => grads[name] ?? null)];
    });
    const ours = run(() => {
      const { value, gradients } = valueAndGradients(() => lossOf(x, weight, variables), variables);
      return [value, ...gradients];
    });
    expect(ours).toEqual(theirs);
    expect(ours.map((numbers) => numbers?.length ?? null)).toEqual([1, 12, 16, 6, null]);
    tf.dispose([x, weight, ...variables]);
  });

  it('is a part of an outer gradient where there is one', () => {
    const v = tf.variable(tf.scalar(3));
    const outer = tf.grad((x) => {
      const { gradients } = valueAndGradients(() => tf.mul(x, tf.square(v)) as tf.Scalar, [v]);
      return gradients[0]!;
    });
    // d/dx of d(x·v²)/dv = 2·x·v.
    expect(outer(tf.scalar(5)).dataSync()[0]).toBeCloseTo(6);
    v.dispose();
  });

  it('says what is wrong with a loss, or with an op that it is made by', () => {
    const v = tf.variable(tf.tensor1d([1, 2]));
    const of = (f: () => tf.Tensor) => () => tf.tidy(() => void valueAndGradients(f as () => tf.Scalar, [v]));
    expect(of(() => tf.square(v))).toThrow('must be a scalar, found one of shape [2]');
    expect(of(() => tf.scalar(1))).toThrow('depends on none of the variables');
    const wrong = tf.customGrad((x) => ({ value: tf.sum(x as tf.Tensor), gradFunc: () => tf.ones([3]) }));
    expect(of(() => wrong(v))).toThrow(/gradient \[3\] of its input '0', which is \[2\]/);
    v.dispose();
  });
});

describe('recordedOnTape()', () => {
  it('ends the tape where the function fails, so that the next gradient has its own', () => {
    expect(() =>
      recordedOnTape(() => {
        throw new Error('in the middle');
      }),
    ).toThrow('in the middle');
    const y = tf.tensor1d([3]);
    expect(gradientsOnOwnTape(() => tf.square(y), [y], tf.ones([1]))[0]!.dataSync()[0]).toBe(6);
  });
});
