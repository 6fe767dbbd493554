/** @file Every op whose gradient reads tensors that may have been made on the way. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { PATHS, usePath } from '../../test/paths.js';
import { random2d } from '../../test/selections.js';
import { gatedMlp } from '../mlp/gated-mlp.js';
import { loraMlp } from '../mlp/lora-mlp.js';
import { rmsNorm } from '../norm/rms-norm.js';
import { rmsNormResidual } from '../norm/rms-norm-residual.js';
import { doraLinear } from '../project/dora-linear.js';
import { linear } from '../project/linear.js';
import { linearKeptColumns } from '../project/linear-kept-columns.js';
import { linearKeptRows } from '../project/linear-kept-rows.js';
import { loraLinear } from '../project/lora-linear.js';
import { projectColumns } from '../project/project-columns.js';
import { projectRows } from '../project/project-rows.js';
import { gramScores } from '../select/gram-scores.js';
import { endsWithScope } from './tfjs-internals.js';

type Tensors = Readonly<Record<string, tf.Tensor>>;

interface Case {
  /** Of tensors that get gradients, x first, and of frozen ones. */
  readonly inputs: Readonly<Record<string, readonly number[]>>;
  readonly frozen: Readonly<Record<string, readonly number[]>>;
  run(tensors: Tensors): tf.Tensor;
}

const matrix = (t: Tensors, name: string) => t[name] as tf.Tensor2D;
const vector = (t: Tensors, name: string) => t[name] as tf.Tensor1D;
/** int32, made within the function too. */
const keep = (total: number) => {
  const indices = tf.tensor1d([0, 2, 3], 'int32');
  return { indices, kept: 3, total };
};
const lora = (t: Tensors, n = '') => ({
  ...{ a: matrix(t, `a${n}`), b: matrix(t, `b${n}`), scaling: 2 },
  magnitude: t[`m${n}`] ? vector(t, `m${n}`) : null,
});

const CASES: Readonly<Record<string, Case>> = {
  linear: { inputs: { x: [5, 4] }, frozen: { w: [6, 4] }, run: (t) => linear(matrix(t, 'x'), matrix(t, 'w')) },
  linearKeptRows: {
    ...{ inputs: { x: [5, 4] }, frozen: { w: [6, 4], bias: [6] } },
    run: (t) => linearKeptRows(matrix(t, 'x'), matrix(t, 'w'), keep(6), vector(t, 'bias')),
  },
  linearKeptColumns: {
    ...{ inputs: { x: [5, 3] }, frozen: { w: [6, 4], bias: [6] } },
    run: (t) => linearKeptColumns(matrix(t, 'x'), matrix(t, 'w'), keep(4), vector(t, 'bias')),
  },
  rmsNorm: { inputs: { x: [5, 4] }, frozen: { w: [4] }, run: (t) => rmsNorm(matrix(t, 'x'), vector(t, 'w'), 1e-5) },
  // The normed rows are saved by an op after it, which makes them again.
  'rmsNormResidual, then projectRows': {
    ...{ inputs: { x: [5, 4], a: [2, 4], b: [6, 2] }, frozen: { norm: [4], w: [6, 4] } },
    run: (t) => {
      const [normed, residual] = rmsNormResidual(matrix(t, 'x'), vector(t, 'norm'), 1e-5);
      const layer = { weight: matrix(t, 'w'), bias: null, keep: null, lora: lora(t) };
      return tf.add(tf.sum(projectRows(normed, [layer], 5)[0]!), tf.sum(tf.mul(residual, 3)));
    },
  },
  loraLinear: {
    ...{ inputs: { x: [5, 4], base: [5, 6], a: [2, 4], b: [6, 2] }, frozen: {} },
    run: (t) => loraLinear(matrix(t, 'x'), matrix(t, 'base'), matrix(t, 'a'), matrix(t, 'b'), 2),
  },
  doraLinear: {
    ...{ inputs: { x: [5, 4], base: [5, 6], a: [2, 4], b: [6, 2], m: [6] }, frozen: { w: [6, 4], bias: [6] } },
    run: (t) => {
      const { a, b, scaling, magnitude } = lora(t);
      return doraLinear(
        matrix(t, 'x'),
        matrix(t, 'base'),
        a,
        b,
        magnitude!,
        matrix(t, 'w'),
        scaling,
        vector(t, 'bias'),
      );
    },
  },
  projectRows: {
    ...{ inputs: { x: [5, 4], a0: [2, 4], b0: [6, 2], a1: [2, 4], b1: [8, 2], m1: [8] } },
    ...{ frozen: { w0: [6, 4], bias: [6], w1: [8, 4] } },
    run: (t) => {
      const layers = [
        { weight: matrix(t, 'w0'), bias: vector(t, 'bias'), keep: keep(6), lora: lora(t, '0') },
        { weight: matrix(t, 'w1'), bias: null, keep: keep(8), lora: lora(t, '1') },
      ];
      return tf.concat(projectRows(matrix(t, 'x'), layers, 2), 1);
    },
  },
  projectColumns: {
    ...{ inputs: { x: [5, 4], residual: [5, 6], a: [2, 4], b: [6, 2] }, frozen: { w: [6, 4], bias: [6] } },
    run: (t) => {
      const layer = { weight: matrix(t, 'w'), bias: vector(t, 'bias'), keep: keep(4), lora: lora(t) };
      return projectColumns(matrix(t, 'x'), matrix(t, 'residual'), layer, 2);
    },
  },
  gatedMlp: {
    ...{ inputs: { x: [5, 4], residual: [5, 4] }, frozen: { gate: [6, 4], up: [6, 4], down: [4, 6], bias: [6] } },
    run: (t) => {
      const weights = {
        gate: { weight: matrix(t, 'gate'), bias: vector(t, 'bias') },
        up: { weight: matrix(t, 'up'), bias: null },
        down: { weight: matrix(t, 'down'), bias: null },
      };
      return gatedMlp(matrix(t, 'x'), matrix(t, 'residual'), weights, keep(6), 2);
    },
  },
  loraMlp: {
    ...{ inputs: { x: [5, 4], residual: [5, 4], a0: [2, 4], b0: [6, 2], m0: [6], a1: [2, 6], b1: [4, 2] } },
    ...{ frozen: { gate: [6, 4], up: [6, 4], down: [4, 6] } },
    run: (t) => {
      const layers = {
        gate: { weight: matrix(t, 'gate'), bias: null, lora: lora(t, '0') },
        up: { weight: matrix(t, 'up'), bias: null, lora: null },
        down: { weight: matrix(t, 'down'), bias: null, lora: lora(t, '1') },
      };
      return loraMlp(matrix(t, 'x'), matrix(t, 'residual'), layers, keep(6), 2);
    },
  },
  'loraMlp without magnitudes': {
    ...{
      inputs: { x: [5, 4], residual: [5, 4], a0: [2, 4], b0: [6, 2], a1: [2, 4], b1: [6, 2], a2: [2, 6], b2: [4, 2] },
    },
    ...{ frozen: { gate: [6, 4], up: [6, 4], down: [4, 6] } },
    run: (t) => {
      const layer = (name: string, n: string) => ({ weight: matrix(t, name), bias: null, lora: lora(t, n) });
      const layers = { gate: layer('gate', '0'), up: layer('up', '1'), down: layer('down', '2') };
      return loraMlp(matrix(t, 'x'), matrix(t, 'residual'), layers, keep(6), 2);
    },
  },
  gramScores: {
    ...{ inputs: { x: [5, 4] }, frozen: { a: [4, 2], b: [2, 6] } },
    run: (t) => gramScores(matrix(t, 'x'), matrix(t, 'a'), matrix(t, 'b')),
  },
};

describe.each(PATHS)('what ends before a gradient is taken, on %s by its %s', (backend, by) => {
  usePath(backend, by);

  it.each(Object.entries(CASES))(
    '%s has the gradients of tensors that it was given with values of their own',
    (_, one) => {
      const made = (shapes: Case['inputs'], seed: number): Record<string, tf.Tensor> =>
        Object.fromEntries(
          Object.entries(shapes).map(([name, shape], n) => [
            name,
            tf.tidy(() => tf.reshape(random2d(shape[0]!, shape[1] ?? 1, seed + n), [...shape])),
          ]),
        );
      const [inputs, frozen] = [made(one.inputs, 1), made(one.frozen, 50)];
      const names = Object.keys(inputs);
      /** @param passing every tensor is the result of an op within the function. */
      const gradients = (passing: boolean) =>
        tf.grads((...given) => {
          const named = { ...Object.fromEntries(given.map((tensor, n) => [names[n]!, tensor])), ...frozen };
          const used = passing
            ? Object.fromEntries(Object.entries(named).map(([name, tensor]) => [name, tf.mul(tensor, 1)]))
            : named;
          return tf.sum(tf.square(one.run(used)));
        })(Object.values(inputs));
      const wanted = gradients(false);
      const found = gradients(true);
      for (const [n, gradient] of found.entries()) expectAllClose(`d${names[n]}`, gradient, wanted[n]!);
      const before = tf.memory().numTensors;
      tf.dispose(gradients(true));
      expect(tf.memory().numTensors).toBe(before);
      tf.dispose([wanted, found, inputs, frozen]);
    },
  );
});

describe('endsWithScope()', () => {
  it('is so of what a tidy under way made, unless it is kept or a variable, and of nothing else', () => {
    const outside = tf.scalar(1);
    const variable = tf.tidy(() => {
      const made = tf.scalar(2);
      const kept = tf.keep(tf.scalar(3));
      const inner = tf.tidy(() => tf.scalar(4));
      const variable = tf.variable(tf.scalar(5));
      expect([outside, made, kept, inner, variable].map(endsWithScope)).toEqual([false, true, false, true, false]);
      kept.dispose();
      return variable;
    });
    const returned = tf.tidy(() => tf.scalar(6));
    tf.tidy(() => {
      expect(endsWithScope(returned)).toBe(false);
    });
    tf.dispose([outside, variable, returned]);
  });
});
