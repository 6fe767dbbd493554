import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose } from '../../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { createOptimizer, type OptimizerArgs } from './optimizer.js';

const args: OptimizerArgs = {
  optim: 'adamw_torch',
  weightDecay: 0.1,
  adamBeta1: 0.9,
  adamBeta2: 0.999,
  adamEpsilon: 1e-8,
  momentum: 0.9,
};
const start = [0.5, -1.5, 2];
const gradientsOf = (step: number) => [0.3 * step, -0.2, 1 / step];
const rateOf = (step: number) => 0.1 / step;

/** torch.optim.AdamW in loops. */
function adamwReference(steps: number, decay: number): number[] {
  const [p, m, v] = [[...start], [0, 0, 0], [0, 0, 0]];
  for (let t = 1; t <= steps; t++) {
    gradientsOf(t).forEach((g, i) => {
      p[i]! *= 1 - rateOf(t) * decay;
      m[i] = 0.9 * m[i]! + 0.1 * g;
      v[i] = 0.999 * v[i]! + 0.001 * g * g;
      p[i]! -= (rateOf(t) * (m[i]! / (1 - 0.9 ** t))) / (Math.sqrt(v[i]! / (1 - 0.999 ** t)) + 1e-8);
    });
  }
  return p;
}

/** torch.optim.SGD in loops. */
function sgdReference(steps: number, decay: number): number[] {
  const [p, buffer] = [[...start], [0, 0, 0]];
  for (let t = 1; t <= steps; t++) {
    gradientsOf(t).forEach((g, i) => {
      buffer[i] = 0.9 * buffer[i]! + g + decay * p[i]!;
      p[i]! -= rateOf(t) * buffer[i]!;
    });
  }
  return p;
}

describe.each(TEST_BACKENDS)('createOptimizer() on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    ['adamw_torch', adamwReference],
    ['sgd', sgdReference],
  ] as const)('%s equals PyTorch’s loops, with no weight decay on biases and norms', (optim, reference) => {
    const before = tf.memory().numTensors;
    const names = ['layer.lora_A.weight', 'layer.bias', 'model.norm.weight', 'input_layernorm.weight'];
    const variables = new Map(names.map((name) => [name, tf.variable(tf.tensor1d(start))]));
    const optimizer = createOptimizer(variables, { ...args, optim });
    for (let t = 1; t <= 5; t++) {
      const gradients = names.map(() => tf.tensor1d(gradientsOf(t)));
      optimizer.step(gradients, { learningRate: rateOf(t) });
      tf.dispose(gradients);
    }
    expect(optimizer.steps).toBe(5);
    expectAllClose('decayed', variables.get(names[0]!)!, reference(5, 0.1), { relative: 1e-6, absolute: 1e-6 });
    for (const name of names.slice(1)) {
      expectAllClose(name, variables.get(name)!, reference(5, 0), { relative: 1e-6, absolute: 1e-6 });
    }
    optimizer.dispose();
    tf.dispose([...variables.values()]);
    // The source tensors of the four variables are the test's own.
    expect(tf.memory().numTensors - before).toBe(names.length);
  });

  it('names its moments as PyTorch does, and keeps none for plain SGD', () => {
    const variables = new Map([['a', tf.variable(tf.tensor1d(start))]]);
    const namesOf = (changed: Partial<OptimizerArgs>) => {
      const optimizer = createOptimizer(variables, { ...args, ...changed });
      const names = [...optimizer.moments.keys()];
      optimizer.dispose();
      return names;
    };
    expect(namesOf({})).toStrictEqual(['exp_avg.a', 'exp_avg_sq.a']);
    expect(namesOf({ optim: 'sgd' })).toStrictEqual(['momentum_buffer.a']);
    expect(namesOf({ optim: 'sgd', momentum: 0 })).toStrictEqual([]);
  });
});
