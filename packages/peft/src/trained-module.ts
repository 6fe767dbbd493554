/**
 * @file The head and the embedding trained in full (`modules_to_save`): each as an adapter that takes its module's place. The frozen weight
 * stays, so that the adapter can be taken off again.
 */
import { gatherRows, storedLike } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { variableOf } from './lora-values.js';
import type { AdapterCall, EmbeddingAdapter, FrozenEmbedding, FrozenLinear, LinearAdapter } from './types.js';

export const TRAINED_WEIGHT = 'weight';

/** Backends that have all numbers in float32, and cannot be read at once: there the device copies. */
const COPY_ON_DEVICE = new Set(['webgpu']);

/**
 * A variable of its own memory with a frozen weight's values, in float32 whatever the backend stores weights in. Through the host: on most
 * devices a copy would be of the backend's precision.
 */
function copyOf(weight: tf.Tensor2D): tf.Variable<tf.Rank.R2> {
  const copy = COPY_ON_DEVICE.has(tf.getBackend())
    ? tf.mul(weight, 1)
    : tf.tensor2d(Float32Array.from(weight.dataSync()), weight.shape);
  return variableOf(copy) as tf.Variable<tf.Rank.R2>;
}

class TrainedModule {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  protected readonly trained: tf.Variable<tf.Rank.R2>;

  constructor(private readonly module: { readonly weight: tf.Tensor2D }) {
    this.trained = copyOf(module.weight);
    this.variables = new Map<string, tf.Variable>([[TRAINED_WEIGHT, this.trained]]);
  }

  mergedWeight(): tf.Tensor2D {
    // A sum, so that the result has memory of its own: the variable's may be updated in place.
    return tf.tidy(() => storedLike(tf.add(this.trained, 0) as tf.Tensor2D, this.module.weight));
  }

  dispose(): void {
    this.trained.dispose();
  }
}

/** A head, or another linear layer without a bias. */
export class TrainedLinear extends TrainedModule implements LinearAdapter {
  constructor(readonly linear: FrozenLinear) {
    super(linear);
  }

  output(x: tf.Tensor2D): tf.Tensor2D {
    return tf.matMul(x, this.trained, false, true);
  }

  forward(x: tf.Tensor2D, _base: tf.Tensor2D, _call: AdapterCall): tf.Tensor2D {
    return this.output(x);
  }
}

export class TrainedEmbedding extends TrainedModule implements EmbeddingAdapter {
  constructor(readonly embedding: FrozenEmbedding) {
    super(embedding);
  }

  forward(ids: Int32Array): tf.Tensor2D {
    return tf.tidy(() => gatherRows(this.trained, tf.tensor1d(ids, 'int32')));
  }
}
