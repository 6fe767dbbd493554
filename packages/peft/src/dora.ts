/**
 * @file DoRA (arXiv 2402.09353): LoRA turns each row of the weight, a magnitude of its own sets that row's length.
 *
 * With V = W + s·B·A and n the lengths of its rows, taken as constants in the gradient (section 4.3), y = (m / n) ⊙ (base + s·B·A·x) + bias.
 * As PEFT 0.21 has it, dropout in training also acts on the base product that the magnitude scales, but not on the base output itself:
 * y = base + (m / n − 1) ⊙ W·dropout(x) + (m / n) ⊙ s·B·A·dropout(x). That costs a second, dense base product.
 */
import { doraLinear, doraNorms, type LoraBranch, linear as linearOp, storedLike } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { seedFor } from './init.js';
import { addedWeight, droppedInput, LORA_A, LORA_B, loraShapes, loraVariables } from './lora.js';
import type { LoraConfig } from './lora-config.js';
import { loraScaling, variableOf } from './lora-values.js';
import type { AdapterCall, AdapterMethod, FrozenLinear, LinearAdapter } from './types.js';

const LORA_MAGNITUDE = 'lora_magnitude_vector.weight';

export const doraMethod: AdapterMethod = {
  name: 'dora',
  fields: ['use_dora'],
  shapes: (linear, config) => loraShapes(linear, config).set(LORA_MAGNITUDE, [linear.outFeatures]),
  create: (linear, config, seed) => new DoraAdapter(linear, config, seed),
};

class DoraAdapter implements LinearAdapter {
  readonly variables: ReadonlyMap<string, tf.Variable>;
  private readonly a: tf.Variable;
  private readonly b: tf.Variable;
  private readonly magnitude: tf.Variable;
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
    // Of V, not of W: the same unless B begins with values, and then the adapter begins as LoRA does.
    this.magnitude = variableOf(this.norms());
    this.variables = new Map([
      [LORA_A, this.a],
      [LORA_B, this.b],
      [LORA_MAGNITUDE, this.magnitude],
    ]);
  }

  forward(x: tf.Tensor2D, base: tf.Tensor2D, call: AdapterCall): tf.Tensor2D {
    return tf.tidy(() => {
      const { weight, bias } = this.linear;
      const input = droppedInput(x, this.rate, this.linear, call);
      if (input !== x) {
        const droppedBase = linearOp(input, weight);
        return tf.add(this.scaled(input, droppedBase, null), tf.sub(base, droppedBase));
      }
      // A dropped channel of a layer with bias has neither in `base`: it then carries (1 − m/n)·bias.
      return this.scaled(x, base, bias);
    });
  }

  branch(call: AdapterCall): LoraBranch | null {
    if (this.linear.bias !== null || (call.training && this.rate > 0)) return null;
    const [a, b] = [this.a, this.b] as tf.Tensor[] as [tf.Tensor2D, tf.Tensor2D];
    return { a, b, scaling: this.scaling, magnitude: this.magnitude as tf.Tensor as tf.Tensor1D };
  }

  maskSeed(seed: number): number {
    return seedFor(seed, this.linear.name);
  }

  mergedWeight(): tf.Tensor2D {
    return tf.tidy(() => {
      const turned = addedWeight(this.linear.weight, this.a, this.b, this.scaling);
      const merged: tf.Tensor2D = tf.mul(turned, tf.expandDims(tf.divNoNan(this.magnitude, this.norms()), 1));
      return storedLike(merged, this.linear.weight);
    });
  }

  dispose(): void {
    tf.dispose([this.a, this.b, this.magnitude]);
  }

  /** Lengths n of the rows of V; owned by the caller. */
  private norms(): tf.Tensor1D {
    return doraNorms(
      this.linear.weight,
      this.a as tf.Tensor as tf.Tensor2D,
      this.b as tf.Tensor as tf.Tensor2D,
      this.scaling,
    );
  }

  /** (m / n) ⊙ (base − bias + s·B·A·x) + bias */
  private scaled(x: tf.Tensor2D, base: tf.Tensor2D, bias: tf.Tensor1D | null): tf.Tensor2D {
    return doraLinear(
      x,
      base,
      this.a as tf.Tensor as tf.Tensor2D,
      this.b as tf.Tensor as tf.Tensor2D,
      this.magnitude as tf.Tensor as tf.Tensor1D,
      this.linear.weight,
      this.scaling,
      bias,
    );
  }
}
