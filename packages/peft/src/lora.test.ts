import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { numericGradient } from '../test/numeric-gradient.js';
import { TinyHost } from '../test/tiny-host.js';
import { loraMethod } from './lora.js';
import { type LoraValues, loraReference, turnedWeight } from './lora.reference.js';
import { completeLoraConfig, type LoraConfigInput } from './lora-config.js';
import { loraScaling } from './lora-values.js';

const [T, In, Out] = [5, 6, 4];

/** An adapter with B ≠ 0 on a layer of a host, and all its numbers. */
function make(input: LoraConfigInput = {}, bias = true) {
  const config = completeLoraConfig({ r: 2, loraAlpha: 6, initLoraWeights: false, ...input });
  const host = new TinyHost({ l: [Out, In] }, { bias });
  const layer = host.linears.get('l')!;
  const adapter = loraMethod.create(layer, config, 7);
  host.setAdapter('l', adapter);
  const x = tf.randomNormal([T, In], 0, 1, 'float32', 3) as tf.Tensor2D;
  const [a, b] = [...adapter.variables.values()];
  const values: LoraValues = {
    x: x.dataSync(),
    weight: layer.weight.dataSync(),
    bias: layer.bias?.dataSync() ?? null,
    a: a!.dataSync(),
    b: b!.dataSync(),
    scaling: loraScaling(config),
    ...{ T, In, Out, r: config.r },
  };
  return { host, adapter, x, a: a!, b: b!, values };
}

describe('loraScaling()', () => {
  it('is alpha over the rank, or over its root', () => {
    expect(loraScaling({ r: 16, loraAlpha: 32, useRslora: false })).toBe(2);
    expect(loraScaling({ r: 16, loraAlpha: 32, useRslora: true })).toBe(8);
  });
});

describe.each(TEST_BACKENDS)('a LoRA adapter on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([
    ['LoRA', { useRslora: false }],
    ['rank-stabilised LoRA', { useRslora: true }],
  ])('gives what plain loops give, and what its merged weight gives (%s)', (_, input) => {
    const { host, adapter, x, values } = make(input);
    const y = host.forward('l', x);
    expectAllClose('y', y, loraReference(values));
    const merged = adapter.mergedWeight();
    expectAllClose('merged weight', merged, turnedWeight(values));
    host.setAdapter('l', null);
    host.replaceWeight('l', merged);
    expectAllClose('merged y', host.forward('l', x), y);
  });

  it('has the gradients of finite differences in A and B', () => {
    const { host, x, a, b, values } = make();
    const probe = Float32Array.from({ length: T * Out }, (_, n) => 1 + (n % 3));
    const { grads } = tf.variableGrads(
      () => tf.sum(tf.mul(host.forward('l', x), tf.tensor2d(probe, [T, Out]))) as tf.Scalar,
    );
    const numeric = {
      a: numericGradient((a) => loraReference({ ...values, a }), values.a, probe),
      b: numericGradient((b) => loraReference({ ...values, b }), values.b, probe),
    };
    expectAllClose('dA', grads[a.name]!, numeric.a, TOLERANCE.gradient);
    expectAllClose('dB', grads[b.name]!, numeric.b, TOLERANCE.gradient);
  });

  it('is nothing at first, and the base alone where its base is sparse', () => {
    const { host, x } = make({ initLoraWeights: true });
    const y = host.forward('l', x);
    const { adapter } = host.linears.get('l')!;
    host.setAdapter('l', null);
    expectAllClose('y', y, host.forward('l', x), { relative: 0, absolute: 0 });
    const sparse = tf.zeros([T, Out]) as tf.Tensor2D;
    expectAllClose('dropped', adapter!.forward(x, sparse, { training: true, seed: 1 }), sparse, {
      relative: 0,
      absolute: 0,
    });
  });

  it('drops the same elements for the same seed, others for another seed or layer, none outside training', () => {
    const { host, adapter, x, values } = make({ loraDropout: 0.5 });
    const at = (training: boolean, seed: number) => host.forward('l', x, { training, seed }).dataSync();
    expectAllClose('evaluation', at(false, 1), loraReference(values));
    expect(at(true, 1)).toEqual(at(true, 1));
    expect(at(true, 1)).not.toEqual(at(true, 2));
    expect(at(true, 1)).not.toEqual(at(false, 1));
    const other = { ...adapter.linear, name: 'm', weight: adapter.linear.weight, inFeatures: In, outFeatures: Out };
    const twin = loraMethod.create(
      other,
      completeLoraConfig({ r: 2, loraAlpha: 6, initLoraWeights: false, loraDropout: 0.5 }),
      7,
    );
    const base = tf.zeros([T, Out]) as tf.Tensor2D;
    const [mine, others] = [adapter, twin].map((one) => one.forward(x, base, { training: true, seed: 1 }).dataSync());
    expect(mine).not.toEqual(others);
  });

  it('takes the dropped input to A alone', () => {
    const { adapter, x, values } = make({ loraDropout: 0.5 }, false);
    const base = tf.zeros([T, Out]) as tf.Tensor2D;
    // With A·x read off, the input that was kept follows: an element is 0 or twice what it was.
    const y = adapter.forward(x, base, { training: true, seed: 5 }).dataSync();
    let found = false;
    for (let mask = 0; mask < 2 ** In && !found; mask++) {
      const row = Float64Array.from({ length: In }, (_, i) => (mask & (1 << i) ? 2 * values.x[i]! : 0));
      const expected = loraReference({ ...values, weight: new Float64Array(Out * In), bias: null, x: row, T: 1 });
      found = expected.every((value, o) => Math.abs(value - y[o]!) < 1e-4);
    }
    expect(found).toBe(true);
  });

  it('leaves its result alone, and nothing once it is disposed', async () => {
    const { host, x } = make({ loraDropout: 0.1 });
    const layer = host.linears.get('l')!;
    await expectNoLeak(() => host.forward('l', x, { training: true, seed: 1 }), 1);
    await expectNoLeak(() => layer.adapter!.mergedWeight(), 1);
    await expectNoLeak(() => {
      const { value, grads } = tf.variableGrads(() => host.loss(x, { factor: 1 }));
      tf.dispose([value, grads]);
    });
    await expectNoLeak(() => loraMethod.create(layer, completeLoraConfig({}), 1).dispose());
  });
});
