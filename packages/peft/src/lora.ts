/**
 * @file LoRA (arXiv 2106.09685): y = base + s·B·A·dropout(x), with s = α/r, or α/√r for rank-stabilised LoRA (arXiv 2312.03732).
 */
import { dropout, type LoraBranch, loraLinear, storedLike } from '@spft/sparse-ops';
import { unpacked } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { initialLora, seedFor } from './init.js';
import type { LoraConfig } from './lora-config.js';
import { LoraEmbeddingAdapter, loraEmbeddingShapes } from './lora-embedding.js';
import { loraScaling, variableOf } from './lora-values.js';
import type { AdapterCall, AdapterMethod, FrozenLinear, LinearAdapter } from './types.js';

export const LORA_A = 'lora_A.weight';
export const LORA_B = 'lora_B.weight';

export const loraMethod: AdapterMethod = {
  name: 'lora',
  fields: [],
  shapes: loraShapes,
  create: (linear, config, seed) => new LoraAdapter(linear, config, seed),
  embedding: {
    shapes: loraEmbeddingShapes,
    create: (embedding, config, seed) => new LoraEmbeddingAdapter(embedding, config, seed),
  },
};

/** Shapes of A and B. */
export function loraShapes({ inFeatures, outFeatures }: FrozenLinear, { r }: LoraConfig): Map<string, number[]> {
  return new Map([
    [LORA_A, [r, inFeatures]],
    [LORA_B, [outFeatures, r]],
  ]);
}

/** New variables A [r, in] and B [out, r], owned by the caller. */
export function loraVariables(
  linear: FrozenLinear,
  config: LoraConfig,
  seed: number,
): { a: tf.Variable; b: tf.Variable } {
  const { inFeatures, outFeatures } = linear;
  const initial = initialLora(config.initLoraWeights, config.r, inFeatures, outFeatures, seed);
  return {
    a: variableOf(tf.tensor2d(initial.a, [config.r, inFeatures])),
    b: variableOf(tf.tensor2d(initial.b, [outFeatures, config.r])),
  };
}

/** W + s·B·A [out, in], owned by the caller. */
export function addedWeight(weight: tf.Tensor2D, a: tf.Variable, b: tf.Variable, scaling: number): tf.Tensor2D {
  // A plain product of two matrices: the form that every backend runs fastest.
  return tf.tidy(() =>
    tf.add(unpacked(weight), tf.mul(tf.matMul(b as tf.Tensor as tf.Tensor2D, a as tf.Tensor as tf.Tensor2D), scaling)),
  );
}

/** What of an adapter's input is left by dropout: `x` itself where there is none. */
export function droppedInput(x: tf.Tensor2D, rate: number, linear: FrozenLinear, call: AdapterCall): tf.Tensor2D {
  // The name makes the masks of q, k and v differ, although one seed is given to the whole layer.
  return call.training && rate > 0 ? dropout(x, rate, seedFor(call.seed, linear.name), call.maskSeedAt) : x;
}

class LoraAdapter implements LinearAdapter {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  private readonly a: tf.Variable;
  private readonly b: tf.Variable;
  private readonly scaling: number;
  private readonly rate: number;

  constructor(
    readonly linear: FrozenLinear,
    config: LoraConfig,
    seed: number,
  ) {
    ({ a: this.a, b: this.b } = loraVariables(linear, config, seed));
    this.scaling = loraScaling(config);
    this.rate = config.loraDropout;
    this.variables = new Map([
      [LORA_A, this.a],
      [LORA_B, this.b],
    ]);
  }

  forward(x: tf.Tensor2D, base: tf.Tensor2D, call: AdapterCall): tf.Tensor2D {
    return tf.tidy(() =>
      loraLinear(
        droppedInput(x, this.rate, this.linear, call),
        base,
        this.a as tf.Tensor as tf.Tensor2D,
        this.b as tf.Tensor as tf.Tensor2D,
        this.scaling,
      ),
    );
  }

  branch(call: AdapterCall): LoraBranch | null {
    if (call.training && this.rate > 0) return null;
    return { a: this.a as tf.Tensor as tf.Tensor2D, b: this.b as tf.Tensor as tf.Tensor2D, scaling: this.scaling };
  }

  maskSeed(seed: number): number {
    return seedFor(seed, this.linear.name);
  }

  mergedWeight(): tf.Tensor2D {
    const { weight } = this.linear;
    return tf.tidy(() => storedLike(addedWeight(weight, this.a, this.b, this.scaling), weight));
  }

  dispose(): void {
    tf.dispose([this.a, this.b]);
  }
}
