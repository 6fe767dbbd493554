import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import fixture from '../../test/fixtures/optimizers.json' with { type: 'json' };
import { createOptimizer } from './optimizer.js';

describe.each(TEST_BACKENDS)('createOptimizer() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each(['adafactor', 'lion'] as const)(
    '%s takes the steps that PyTorch takes, and leaves nothing behind',
    (optim) => {
      const before = tf.memory().numTensors;
      const variables = new Map<string, tf.Variable>([
        ['W', tf.tidy(() => tf.variable(tf.tensor2d(fixture.initial.W, [3, 4])))],
        ['b', tf.tidy(() => tf.variable(tf.tensor1d(fixture.initial.b)))],
      ]);
      const { weightDecay } = fixture;
      const betas = { adamBeta1: 0.9, adamBeta2: 0.999, adamEpsilon: 1e-8, momentum: 0 };
      const optimizer = createOptimizer(variables, { optim, weightDecay, ...betas });
      fixture.gradients.forEach(([W, b], step) => {
        const gradients = [tf.tensor2d(W!, [3, 4]), tf.tensor1d(b!)];
        // Halved here and doubled by the scale: clipping is part of a step.
        const halves = gradients.map((gradient) => tf.mul(gradient, 0.5));
        const two = tf.scalar(2);
        optimizer.step(halves, { learningRate: fixture.lr, gradientScale: two });
        tf.dispose([...gradients, ...halves, two]);
        const [wantedW, wantedB] = fixture[optim][step]!;
        tf.tidy(() => {
          expectAllClose(`W after ${step + 1}`, variables.get('W')!, tf.tensor2d(wantedW!, [3, 4]), {
            relative: 1e-5,
            absolute: 1e-6,
          });
          expectAllClose(`b after ${step + 1}`, variables.get('b')!, tf.tensor1d(wantedB!), {
            relative: 1e-5,
            absolute: 1e-6,
          });
        });
      });
      expect([...optimizer.moments.keys()]).toEqual(
        optim === 'lion' ? ['exp_avg.W', 'exp_avg.b'] : ['exp_avg_sq_row.W', 'exp_avg_sq_col.W', 'exp_avg_sq.b'],
      );
      optimizer.dispose();
      tf.dispose([...variables.values()]);
      expect(tf.memory().numTensors).toBe(before);
    },
  );
});
