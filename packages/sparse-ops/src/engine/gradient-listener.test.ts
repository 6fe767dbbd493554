import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { loraLinear } from '../project/lora-linear.js';
import { withGradientListener } from './gradient-listener.js';

describe.each(TEST_BACKENDS)('withGradientListener() on %s', (backend) => {
  it('hears of final gradients before the backward pass is over, and of no others', async () => {
    await useBackend(backend);
    const x = tf.randomNormal([3, 4], 0, 1, 'float32', 1) as tf.Tensor2D;
    const variables = [
      [2, 4],
      [5, 2],
      [2, 5],
      [4, 2],
    ].map((shape, n) => tf.variable(tf.randomNormal(shape, 0, 1, 'float32', n + 2)));
    const [a1, b1, a2, b2] = variables as unknown as tf.Tensor2D[];
    // The third is used by something else too, so what one op says of it is a part.
    const loss = () => {
      const y = loraLinear(x, tf.zeros([3, 5]), a1!, b1!, 1);
      const z = loraLinear(y, tf.zeros([3, 4]), a2!, b2!, 1);
      return tf.add(tf.sum(tf.square(z)), tf.sum(tf.square(a2!))) as tf.Scalar;
    };
    const heard: { place: number; values: Float32Array }[] = [];
    const { value, grads } = withGradientListener(
      (variable, gradient) => {
        heard.push({ place: variables.indexOf(variable), values: gradient.dataSync().slice() as Float32Array });
      },
      () => tf.variableGrads(loss, variables),
    );
    expect(heard.map(({ place }) => place)).toEqual([3, 0, 1]);
    for (const { place, values } of heard) expect(values).toEqual(grads[variables[place]!.name]!.dataSync());
    // Nobody listens any more.
    const again = tf.variableGrads(loss, variables);
    expect(heard).toHaveLength(3);
    tf.dispose([x, value, grads, again, ...variables]);
  });
});
