/**
 * @file LoRA on the embedding, as PEFT's `lora.Embedding` has it: E[id] + s·B·A[:, id], with A [r, V] and B [H, r]. Dropout does not act here.
 */
import { gatherRows, storedLike } from '@spft/sparse-ops';
import { unpacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { initialEmbeddingLora } from './init.js';
import type { LoraConfig } from './lora-config.js';
import { loraScaling, variableOf } from './lora-values.js';
import type { EmbeddingAdapter, FrozenEmbedding } from './types.js';

const LORA_EMBEDDING_A = 'lora_embedding_A';
const LORA_EMBEDDING_B = 'lora_embedding_B';

/** Shapes of A and B. */
export function loraEmbeddingShapes(
  { vocabSize, hiddenSize }: FrozenEmbedding,
  { r }: LoraConfig,
): Map<string, number[]> {
  return new Map([
    [LORA_EMBEDDING_A, [r, vocabSize]],
    [LORA_EMBEDDING_B, [hiddenSize, r]],
  ]);
}

export class LoraEmbeddingAdapter implements EmbeddingAdapter {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  private readonly a: tf.Variable<tf.Rank.R2>;
  private readonly b: tf.Variable<tf.Rank.R2>;
  private readonly scaling: number;

  constructor(
    readonly embedding: FrozenEmbedding,
    config: LoraConfig,
    seed: number,
  ) {
    const { vocabSize, hiddenSize } = embedding;
    const initial = initialEmbeddingLora(config.initLoraWeights, config.r, vocabSize, hiddenSize, seed);
    this.a = variableOf(tf.tensor2d(initial.a, [config.r, vocabSize])) as tf.Variable<tf.Rank.R2>;
    this.b = variableOf(tf.tensor2d(initial.b, [hiddenSize, config.r])) as tf.Variable<tf.Rank.R2>;
    this.scaling = loraScaling(config);
    this.variables = new Map<string, tf.Variable>([
      [LORA_EMBEDDING_A, this.a],
      [LORA_EMBEDDING_B, this.b],
    ]);
  }

  forward(ids: Int32Array, base: () => tf.Tensor2D): tf.Tensor2D {
    return tf.tidy(() => {
      const rows = gatherRows(tf.transpose(this.a), tf.tensor1d(ids, 'int32'));
      return tf.add(base(), tf.mul(tf.matMul(rows, this.b, false, true), this.scaling));
    });
  }

  mergedWeight(): tf.Tensor2D {
    const { weight } = this.embedding;
    return tf.tidy(() =>
      storedLike(
        tf.add(unpacked(weight), tf.mul(tf.matMul(this.a, this.b, true, true), this.scaling)) as tf.Tensor2D,
        weight,
      ),
    );
  }

  dispose(): void {
    tf.dispose([this.a, this.b]);
  }
}
