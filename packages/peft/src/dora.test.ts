import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { expectAllClose, TOLERANCE } from '../../../test/support/allclose.js';
import { TEST_BACKENDS, useBackend } from '../../../test/support/backends.js';
import { expectNoLeak } from '../../../test/support/leaks.js';
import { numericGradient } from '../test/numeric-gradient.js';
import { TinyHost } from '../test/tiny-host.js';
import { doraMethod } from './dora.js';
import { doraReference, type LoraValues, product, rowLengths, turnedWeight } from './lora.reference.js';
import { completeLoraConfig, type LoraConfigInput } from './lora-config.js';
import { loraScaling } from './lora-values.js';

const [T, In, Out] = [5, 6, 4];

/** A trained-looking adapter (B ≠ 0, magnitudes moved) on a layer of a host, and all its numbers. */
function make(input: LoraConfigInput = {}, bias = true) {
  const config = completeLoraConfig({ r: 2, loraAlpha: 6, useDora: true, initLoraWeights: false, ...input });
  const host = new TinyHost({ l: [Out, In] }, { bias });
  const layer = host.linears.get('l')!;
  const adapter = doraMethod.create(layer, config, 7);
  host.setAdapter('l', adapter);
  const x = tf.randomNormal([T, In], 0, 1, 'float32', 3) as tf.Tensor2D;
  const [a, b, m] = [...adapter.variables.values()] as [tf.Variable, tf.Variable, tf.Variable];
  const initial = Float32Array.from(m.dataSync());
  m.assign(tf.mul(m, tf.tensor1d([0.8, 1.1, 1.4, 0.9])));
  const values: LoraValues = {
    x: x.dataSync(),
    weight: layer.weight.dataSync(),
    bias: layer.bias?.dataSync() ?? null,
    a: a.dataSync(),
    b: b.dataSync(),
    scaling: loraScaling(config),
    ...{ T, In, Out, r: config.r },
  };
  return { host, adapter, x, a, b, m, initial, values, magnitude: m.dataSync() };
}

describe.each(TEST_BACKENDS)('a DoRA adapter on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it.each([false, true])('gives what plain loops give, and what its merged weight gives (bias: %s)', (bias) => {
    const { host, adapter, x, values, magnitude } = make({}, bias);
    const y = host.forward('l', x);
    expectAllClose('y', y, doraReference(values, magnitude));
    const merged = adapter.mergedWeight();
    expectAllClose('row lengths of the merged weight', rowLengths(merged.dataSync(), In), magnitude);
    host.setAdapter('l', null);
    host.replaceWeight('l', merged);
    expectAllClose('merged y', host.forward('l', x), y);
  });

  it('begins with the lengths of the rows, so that it begins as LoRA does', () => {
    const fresh = make({ initLoraWeights: true }, false);
    expectAllClose('magnitude', fresh.initial, rowLengths(fresh.values.weight, In));
    fresh.m.assign(tf.tensor1d(fresh.initial));
    const y = fresh.host.forward('l', fresh.x);
    expectAllClose('y', y, product(fresh.values.x, fresh.values.weight, null, In));
    fresh.host.setAdapter('l', null);
    expectAllClose('y without adapter', y, fresh.host.forward('l', fresh.x), { relative: 0, absolute: 0 });
    const random = make();
    expectAllClose('magnitude of V', random.initial, rowLengths(turnedWeight(random.values), In));
  });

  it('has the gradients of finite differences, the lengths n being constants', () => {
    const { host, x, a, b, m, values, magnitude } = make();
    const probe = Float32Array.from({ length: T * Out }, (_, n) => 1 + (n % 3));
    const { grads } = tf.variableGrads(
      () => tf.sum(tf.mul(host.forward('l', x), tf.tensor2d(probe, [T, Out]))) as tf.Scalar,
    );
    const norms = rowLengths(turnedWeight(values), In);
    const numeric = {
      a: numericGradient((a) => doraReference({ ...values, a }, magnitude, norms), values.a, probe),
      b: numericGradient((b) => doraReference({ ...values, b }, magnitude, norms), values.b, probe),
      m: numericGradient((m) => doraReference(values, m, norms), magnitude, probe),
    };
    expectAllClose('dA', grads[a.name]!, numeric.a, TOLERANCE.gradient);
    expectAllClose('dB', grads[b.name]!, numeric.b, TOLERANCE.gradient);
    expectAllClose('dm', grads[m.name]!, numeric.m, TOLERANCE.gradient);
  });

  it('with dropout scales the base product of the dropped input, as PEFT does', () => {
    const { host, x, values, magnitude } = make({ loraDropout: 0.5 }, true);
    const at = (training: boolean, seed: number) => host.forward('l', x, { training, seed }).dataSync();
    expectAllClose('evaluation', at(false, 1), doraReference(values, magnitude));
    expect(at(true, 1)).toEqual(at(true, 1));
    expect(at(true, 1)).not.toEqual(at(true, 2));
    // The first row must be what some mask gives: an element of the input is 0 or twice what it was.
    const y = at(true, 5);
    const first = values.x instanceof Float32Array ? values.x.subarray(0, In) : [];
    let found = false;
    for (let mask = 0; mask < 2 ** In && !found; mask++) {
      const dropped = Float64Array.from({ length: In }, (_, i) => (mask & (1 << i) ? 2 * first[i]! : 0));
      const expected = doraReference({ ...values, x: first, T: 1 }, magnitude, undefined, dropped);
      found = expected.every((value, o) => Math.abs(value - y[o]!) < 1e-4);
    }
    expect(found).toBe(true);
  });

  it('has the gradient of finite differences in x, with dropout too', () => {
    const { adapter, x } = make({ loraDropout: 0.3 }, false);
    const f = (input: tf.Tensor2D) =>
      tf.sum(adapter.forward(input, tf.zeros([T, Out]) as tf.Tensor2D, { training: true, seed: 2 })) as tf.Scalar;
    const dx = tf
      .grad((input) => f(input as tf.Tensor2D))(x)
      .dataSync();
    const values = x.dataSync();
    // Linear in x: a whole step is exact.
    const moved = (i: number) =>
      tf.tensor2d(
        values.map((v, n) => (n === i ? v + 1 : v)),
        [T, In],
      );
    const numeric = Array.from(values, (_, i) => f(moved(i)).dataSync()[0]! - f(x).dataSync()[0]!);
    expectAllClose('dx', dx, numeric, { relative: 1e-3, absolute: 1e-4 });
  });

  it('leaves its result alone, and nothing once it is disposed', async () => {
    const { host, x } = make({ loraDropout: 0.1 });
    const layer = host.linears.get('l')!;
    await expectNoLeak(() => host.forward('l', x, { training: true, seed: 1 }), 1);
    await expectNoLeak(() => host.forward('l', x), 1);
    await expectNoLeak(() => layer.adapter!.mergedWeight(), 1);
    await expectNoLeak(() => {
      const { value, grads } = tf.variableGrads(() => host.loss(x, { factor: 1 }));
      tf.dispose([value, grads]);
    });
    await expectNoLeak(() => doraMethod.create(layer, completeLoraConfig({ useDora: true }), 1).dispose());
  });
});
