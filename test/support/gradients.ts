/** @file Gradients against central finite differences. */
import * as tf from '@tensorflow/tfjs';
import { expectAllClose, TOLERANCE } from './allclose.js';

/**
 * Checks d(Σ f(x)·w)/dx for every input against central differences, w being fixed random weights so that no error cancels.
 * @param inputs differentiable inputs; small (every element is perturbed twice).
 */
export function expectGradients(
  name: string,
  f: (...inputs: tf.Tensor[]) => tf.Tensor,
  inputs: tf.Tensor[],
  step = 1e-2,
): void {
  const probe = tf.tidy(() => {
    const y = f(...inputs);
    return tf.keep(tf.randomUniform(y.shape, 0.5, 1.5, 'float32', 7));
  });
  const objective = (...xs: tf.Tensor[]) => tf.sum(tf.mul(f(...xs), probe)) as tf.Scalar;
  const analytic = tf.tidy(() =>
    tf
      .grads(objective)(inputs)
      .map((g) => tf.keep(g)),
  );
  inputs.forEach((input, n) => {
    const values = Float32Array.from(input.dataSync());
    const numeric = values.map((v, i) => {
      const at = (x: number) =>
        tf.tidy(() => {
          const moved = values.slice();
          moved[i] = x;
          return objective(
            ...inputs.map((other, m) => (m === n ? tf.tensor(moved, input.shape) : other)),
          ).dataSync()[0]!;
        });
      return (at(v + step) - at(v - step)) / (2 * step);
    });
    expectAllClose(`${name}: gradient of input ${n}`, analytic[n]!, numeric, TOLERANCE.finiteDifference);
  });
  tf.dispose([probe, ...analytic]);
}
