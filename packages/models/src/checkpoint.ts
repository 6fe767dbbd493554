/**
 * @file Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): a part of the forward keeps its input alone and is recomputed in the
 * backward pass. A gradient that comes in ends there (`recordOp`), rather than with the whole backward pass.
 */
import { gradientsOnOwnTape, recordOp } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';

/**
 * f(x, constants), equal to calling it, whose backward pass recomputes it.
 * @param f must give the same result each time and use no other tensor that ends with the step.
 * @param constants tensors that f needs and that get no gradient.
 * @param variables trainable variables that f uses.
 * @param recompute what to run in the backward pass: without f's side effects, or without what its result alone needs, as nobody reads that. f itself by
 * default.
 */
export function checkpoint<C extends readonly tf.Tensor[], Result extends tf.Tensor = tf.Tensor2D>(
  f: (x: tf.Tensor2D, constants: C) => Result,
  x: tf.Tensor2D,
  constants: C,
  variables: readonly tf.Variable[],
  recompute: typeof f = f,
): Result {
  const named = Object.fromEntries(variables.map((variable, n) => [`variable${n}`, variable]));
  const [y] = recordOp<[Result]>({
    name: 'Checkpoint',
    inputs: { x, ...named },
    saves: [x, ...constants],
    run: () => ({ outputs: [tf.tidy(() => f(x, constants))], kept: [] }),
    gradient: ([dy], [x, ...constants]) =>
      tf.tidy(() => {
        const inputs = [x!, ...variables];
        const again = () => recompute(x as tf.Tensor2D, constants as unknown as C);
        const gradients = gradientsOnOwnTape(again, inputs, dy!).map((g, n) => g ?? tf.zerosLike(inputs[n]!));
        return Object.fromEntries(['x', ...Object.keys(named)].map((name, n) => [name, gradients[n]!]));
      }),
  });
  return y;
}
