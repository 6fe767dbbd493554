import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { expectNoLeak } from '../../../../test/support/leaks.js';
import { PATHS, usePath } from '../../test/paths.js';
import { adamwUpdate, sgdUpdate, zeroMoments } from './optimizer-update.js';
import { adamwReference, sgdReference } from './optimizer-update.reference.js';

const SHAPES = [[3, 5], [1], [0, 2], [7]];
const STEPS = 3;
const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed + 1);
const variables = () => SHAPES.map((shape, n) => tf.variable(random(shape, n)));
const gradientsOf = (step: number) => SHAPES.map((shape, n) => random(shape, 10 * step + n));
/** Gradients of parameter n in each step. */
const gradientHistory = (n: number) => Array.from({ length: STEPS }, (_, s) => gradientsOf(s)[n]!.dataSync());

describe.each(PATHS)('adamwUpdate() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    ['plain', { weightDecay: 0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }, undefined],
    [
      'with decay, large epsilon and scaled gradients',
      { weightDecay: 0.1, beta1: 0.8, beta2: 0.95, epsilon: 0.1 },
      0.3,
    ],
  ])('equals its reference after three steps, %s', (_, options, scale) => {
    const parameters = variables();
    const start = parameters.map((p) => p.dataSync());
    const state = { firstMoments: zeroMoments(parameters), secondMoments: zeroMoments(parameters) };
    const gradientScale = scale === undefined ? undefined : tf.scalar(scale);
    for (let s = 0; s < STEPS; s++) {
      adamwUpdate(parameters, gradientsOf(s), state, { ...options, learningRate: 0.05, step: s + 1, gradientScale });
    }
    parameters.forEach((p, n) => {
      const o = { ...options, learningRate: 0.05, scale: scale ?? 1 };
      const expected = adamwReference(start[n]!, gradientHistory(n), o);
      expectAllClose(`parameter ${n}`, p, expected.p);
      expectAllClose(`first moment ${n}`, state.firstMoments[n]!, expected.m);
      expectAllClose(`second moment ${n}`, state.secondMoments[n]!, expected.v);
    });
  });

  it('takes a first step of the learning rate against the sign of the gradient', () => {
    const p = tf.variable(tf.tensor1d([1, 1]));
    const state = { firstMoments: zeroMoments([p]), secondMoments: zeroMoments([p]) };
    adamwUpdate([p], [tf.tensor1d([1e-3, -50])], state, { learningRate: 0.1, step: 1 });
    expectAllClose('p', p, [0.9, 1.1]);
  });

  it('leaves earlier copies of a parameter as they were, and a product with it up to date', () => {
    const p = tf.variable(
      tf.tensor2d([
        [1, 2],
        [3, 4],
      ]),
    );
    const state = { firstMoments: zeroMoments([p]), secondMoments: zeroMoments([p]) };
    const [copy, ones] = [p.clone(), tf.ones([1, 2]) as tf.Tensor2D];
    expectAllClose('before', tf.matMul(ones, p as tf.Tensor as tf.Tensor2D), [4, 6]);
    adamwUpdate([p], [tf.ones([2, 2])], state, { learningRate: 1, step: 1 });
    expectAllClose('copy', copy, [1, 2, 3, 4]);
    expectAllClose('after', tf.matMul(ones, p as tf.Tensor as tf.Tensor2D), [2, 4]);
  });

  it('leaves nothing behind', async () => {
    const parameters = variables();
    const state = { firstMoments: zeroMoments(parameters), secondMoments: zeroMoments(parameters) };
    const gradients = gradientsOf(0);
    await expectNoLeak(() => adamwUpdate(parameters, gradients, state, { learningRate: 0.1, step: 1, weightDecay: 1 }));
  });

  it('refuses what does not fit', () => {
    const p = tf.variable(tf.zeros([2]));
    const state = { firstMoments: zeroMoments([p]), secondMoments: zeroMoments([p]) };
    const options = { learningRate: 1, step: 1 };
    expect(() => adamwUpdate([p], [], state, options)).toThrow("0 tensors 'g' for 1 parameters");
    expect(() => adamwUpdate([p], [tf.zeros([3])], state, options)).toThrow(
      "'g' of parameter 0 is [3], the parameter [2]",
    );
    expect(() => adamwUpdate([p], [tf.zeros([2])], state, { ...options, step: 0 })).toThrow('steps count from 1');
  });
});

describe.each(PATHS)('sgdUpdate() on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each([
    ['plain', { weightDecay: 0, momentum: 0 }, undefined],
    ['with decay, momentum and scaled gradients', { weightDecay: 0.1, momentum: 0.9 }, 0.3],
    ['with decay alone', { weightDecay: 0.1, momentum: 0 }, undefined],
  ])('equals its reference after three steps, %s', (_, options, scale) => {
    const parameters = variables();
    const start = parameters.map((p) => p.dataSync());
    const state = { momenta: zeroMoments(parameters) };
    const gradientScale = scale === undefined ? undefined : tf.scalar(scale);
    for (let s = 0; s < STEPS; s++) {
      sgdUpdate(parameters, gradientsOf(s), state, { ...options, learningRate: 0.05, gradientScale });
    }
    parameters.forEach((p, n) => {
      const expected = sgdReference(start[n]!, gradientHistory(n), {
        ...options,
        learningRate: 0.05,
        scale: scale ?? 1,
      });
      expectAllClose(`parameter ${n}`, p, expected.p);
      if (options.momentum !== 0) expectAllClose(`momentum ${n}`, state.momenta[n]!, expected.m);
    });
  });

  it('leaves nothing behind', async () => {
    const parameters = variables();
    const [momenta, gradients] = [zeroMoments(parameters), gradientsOf(0)];
    await expectNoLeak(() => sgdUpdate(parameters, gradients, { momenta }, { learningRate: 0.1, momentum: 0.9 }));
  });
});
