/**
 * @file Loss and gradients of a micro-batch, and their sum over the micro-batches of a step. Nothing is read back to the host.
 */
import type { ForwardOptions, PackedBatch, TrainableModel } from '@spft/models';
import { orForgetTape, valueAndGradients } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';

export interface LossAndGradients {
  /** Owned by the caller. */
  readonly loss: tf.Scalar;
  /** One for each variable of the model, in order; zeros where the loss does not depend on it. Owned by the caller. */
  readonly gradients: readonly tf.Tensor[];
}

/** Forward and backward, in one tidy. */
export function lossAndGradients(
  model: TrainableModel,
  batch: PackedBatch,
  options: ForwardOptions & { readonly normalizer: number },
): LossAndGradients {
  return gradientsOf(() => model.loss(batch, options), [...model.variables.values()]);
}

/** A loss and its gradients by `variables`, in one tidy. */
export function gradientsOf(computeLoss: () => tf.Scalar, variables: readonly tf.Variable[]): LossAndGradients {
  const results = tf.tidy(() => {
    const { value, gradients } = orForgetTape(() => valueAndGradients(computeLoss, variables));
    return [value, ...gradients.map((gradient, n) => gradient ?? tf.zerosLike(variables[n]!))];
  });
  const [loss, ...gradients] = results;
  return { loss: loss as tf.Scalar, gradients };
}

/** The running sum of gradients of one step. Owns it. */
export class GradientSum {
  #gradients: readonly tf.Tensor[] = [];

  /** Adds the gradients of a micro-batch, and takes ownership of them. */
  add(gradients: readonly tf.Tensor[]): void {
    if (this.#gradients.length === 0) {
      this.#gradients = gradients;
      return;
    }
    const before = this.#gradients;
    this.#gradients = before.map((sum, n) => tf.add(sum, gradients[n]!));
    tf.dispose([...before, ...gradients]);
  }

  get tensors(): readonly tf.Tensor[] {
    return this.#gradients;
  }

  dispose(): void {
    tf.dispose([...this.#gradients]);
    this.#gradients = [];
  }
}
