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

describe.each(TEST_BACKENDS)('adamw_8bit on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  const shapes = {
    'q_proj.lora_A.weight': [64, 65],
    'q_proj.lora_B.weight': [4095],
    'model.embed_tokens.weight': [4096],
  };
  const made = (optim: OptimizerArgs['optim']) => {
    const variables = new Map(
      Object.entries(shapes).map(([name, shape], n) => [
        name,
        tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, 1, 'float32', n + 1))),
      ]),
    );
    return { variables, optimizer: createOptimizer(variables, { ...args, optim }) };
  };
  const steps = ({ variables, optimizer }: ReturnType<typeof made>, from: number, to: number) => {
    for (let t = from; t <= to; t++) {
      const gradients = [...variables.values()].map(({ shape }, n) =>
        tf.randomNormal(shape, 0, 1, 'float32', 10 * t + n),
      );
      const gradientScale = tf.scalar(0.5);
      optimizer.step(gradients, { learningRate: rateOf(t), gradientScale });
      tf.dispose([gradients, gradientScale]);
    }
  };

  it('keeps 8 bits of what has 4096 numbers, 32 of what is smaller or an embedding, by bitsandbytes’ names', () => {
    const before = tf.memory().numTensors;
    const [eight, exact] = [made('adamw_bnb_8bit'), made('adamw_torch')];
    expect(eight.optimizer.name).toBe('adamw_8bit');
    const bytes = [...eight.optimizer.moments].map(([name, { size, dtype }]) => [name, dtype, size]);
    expect(bytes).toEqual([
      ['exp_avg.q_proj.lora_B.weight', 'float32', 4095],
      ['exp_avg.model.embed_tokens.weight', 'float32', 4096],
      ['exp_avg_sq.q_proj.lora_B.weight', 'float32', 4095],
      ['exp_avg_sq.model.embed_tokens.weight', 'float32', 4096],
      // 4160 numbers: 17 blocks of 256, a byte a number and a scale a block.
      ['state1.q_proj.lora_A.weight', 'int32', (17 * 256) / 4],
      ['absmax1.q_proj.lora_A.weight', 'float32', 17],
      ['state2.q_proj.lora_A.weight', 'int32', (17 * 256) / 4],
      ['absmax2.q_proj.lora_A.weight', 'float32', 17],
    ]);
    steps(eight, 1, 3);
    steps(exact, 1, 3);
    for (const name of Object.keys(shapes)) {
      const is32 = name !== 'q_proj.lora_A.weight';
      const tolerance = is32 ? { relative: 1e-6, absolute: 1e-6 } : { relative: 0, absolute: 0.05 };
      expectAllClose(name, eight.variables.get(name)!, exact.variables.get(name)!, tolerance);
    }
    eight.optimizer.dispose();
    exact.optimizer.dispose();
    tf.dispose([...eight.variables.values(), ...exact.variables.values()]);
    expect(tf.memory().numTensors).toBe(before);
  });
});

describe('paged_adamw_8bit', () => {
  it('is adamw_8bit where tensors are in host memory, and refused where they are not', async () => {
    await useBackend('cpu');
    const variables = new Map([['a', tf.variable(tf.zeros([4096]))]]);
    const optimizer = createOptimizer(variables, { ...args, optim: 'paged_adamw_8bit' });
    expect(optimizer.name).toBe('adamw_8bit');
    optimizer.dispose();
    tf.registerBackend(
      'spft-test-device',
      () =>
        new (class extends tf.KernelBackend {
          override dispose() {}
        })(),
    );
    try {
      await tf.setBackend('spft-test-device');
      expect(() => createOptimizer(variables, { ...args, optim: 'paged_adamw_8bit' })).toThrow(
        'keeps all tensors on its device and pages none out; the state of 4096 trained numbers takes 0.0 MiB in 8 bits. Take adamw_8bit',
      );
    } finally {
      await useBackend('cpu');
      tf.removeBackend('spft-test-device');
    }
  });
});
