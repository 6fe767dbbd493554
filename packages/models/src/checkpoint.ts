/**
 * @file Gradient checkpointing (Chen et al. 2016, arXiv:1604.06174): a part of the forward keeps its input alone and is recomputed in the
 * backward pass.
 */
import { gradientsOnOwnTape } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';

/**
 * f(x, constants), equal to calling it, whose backward pass recomputes it.
 * @param f must give the same result each time and use no other tensor that ends with the step.
 * @param constants tensors that f needs and that get no gradient.
 * @param variables trainable variables that f uses.
 * @param recompute what to run in the backward pass where f has side effects; f itself by default.
 */
export function checkpoint<C extends readonly tf.Tensor[]>(
  f: (x: tf.Tensor2D, constants: C) => tf.Tensor2D,
  x: tf.Tensor2D,
  constants: C,
  variables: readonly tf.Variable[],
  recompute: typeof f = f,
): tf.Tensor2D {
  const op = tf.customGrad((...args) => {
    const save = args.at(-1) as tf.GradSaveFunc;
    const value = f(x, constants);
    save([x, ...constants]);
    const gradFunc = (dy: tf.Tensor, [x, ...constants]: tf.Tensor[]) =>
      tf.tidy(() => {
        const inputs = [x!, ...variables];
        const grads = gradientsOnOwnTape(() => recompute(x as tf.Tensor2D, constants as unknown as C), inputs, dy);
        return inputs.map((input, n) => grads[n] ?? tf.zerosLike(input));
      });
    return { value, gradFunc };
  });
  return op(x, ...variables) as tf.Tensor2D;
}
