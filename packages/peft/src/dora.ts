/**
 * @file DoRA (arXiv 2402.09353): LoRA turns each row of the weight, a magnitude of its own sets that row's length.
 *
 * With V = W + s·B·A and n the lengths of its rows, taken as constants in the gradient (section 4.3), y = (m / n) ⊙ (base + s·B·A·x) + bias.
 * As PEFT 0.21 has it, dropout in training also acts on the base product that the magnitude scales, but not on the base output itself:
 * y = base + (m / n − 1) ⊙ W·dropout(x) + (m / n) ⊙ s·B·A·dropout(x). That costs a second, dense base product.
 */
import { doraLinear, linear as linearOp } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { addedWeight, droppedInput, LORA_A, LORA_B, loraScaling, loraVariables, variableOf } from './lora.js';
import type { LoraConfig } from './lora-config.js';
import type { AdapterCall, AdapterMethod, FrozenLinear, LinearAdapter } from './types.js';

export const LORA_MAGNITUDE = 'lora_magnitude_vector.weight';

export const doraMethod: AdapterMethod = {
  name: 'dora',
  fields: ['use_dora'],
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
    // Unless B begins at zero the rows of V, not of W, are what the magnitude begins with: then the adapter begins as LoRA does.
    this.magnitude = variableOf(
      config.initLoraWeights === false
        ? tf.tidy(() => rowNorms(addedWeight(linear.weight, this.a, this.b, this.scaling)))
        : rowNorms(linear.weight),
    );
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
        return tf.add(this.scaled(input, droppedBase), tf.sub(base, droppedBase));
      }
      if (bias === null) return this.scaled(x, base);
      // The magnitude scales the product alone. (A dropped channel of a layer with bias has neither in `base`: it then carries (1 − m/n)·bias.)
      return tf.add(this.scaled(x, tf.sub(base, bias)), bias);
    });
  }

  mergedWeight(): tf.Tensor2D {
    return tf.tidy(() => {
      const turned = addedWeight(this.linear.weight, this.a, this.b, this.scaling);
      return tf.mul(turned, tf.expandDims(tf.div(this.magnitude, rowNorms(turned)), 1));
    });
  }

  dispose(): void {
    tf.dispose([this.a, this.b, this.magnitude]);
  }

  /** (m / n) ⊙ (product + s·B·A·x) */
  private scaled(x: tf.Tensor2D, product: tf.Tensor2D): tf.Tensor2D {
    return doraLinear(
      x,
      product,
      this.a as tf.Tensor as tf.Tensor2D,
      this.b as tf.Tensor as tf.Tensor2D,
      this.magnitude as tf.Tensor as tf.Tensor1D,
      this.linear.weight,
      this.scaling,
    );
  }
}

function rowNorms(weight: tf.Tensor2D): tf.Tensor1D {
  return tf.tidy(() => tf.sqrt(tf.sum(tf.square(weight), 1)));
}
