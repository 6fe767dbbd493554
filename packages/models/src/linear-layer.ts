/** @file A frozen linear layer of the model with a slot for an adapter. */
import type { AdapterCall, FrozenLinear, LinearAdapter } from '@spft/peft';
import { type ChannelSelection, type FrozenLayer, linear } from '@spft/sparse-ops';
import { keepTransposed, releaseTransposed } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';

/** Owns its weight and bias, not its adapter. */
export class LinearLayer implements FrozenLinear {
  /** Null where the layer is as it came. */
  adapter: LinearAdapter | null = null;
  #weight: tf.Tensor2D;

  /**
   * @param name full module name, e.g. `model.layers.0.self_attn.q_proj`.
   * @param weight [out, in]; ownership passes here.
   * @param bias [out] or null; ownership passes here.
   */
  constructor(
    readonly name: string,
    weight: tf.Tensor2D,
    readonly bias: tf.Tensor1D | null,
  ) {
    this.#weight = weight;
    // Every step multiplies by it: where a backend wants the transpose, made once is enough.
    keepTransposed(weight);
  }

  get weight(): tf.Tensor2D {
    return this.#weight;
  }

  get outFeatures(): number {
    return this.#weight.shape[0];
  }

  get inFeatures(): number {
    return this.#weight.shape[1];
  }

  /** Takes ownership of `weight` and disposes the old one. */
  replaceWeight(weight: tf.Tensor2D): void {
    const [out, inputs] = this.#weight.shape;
    if (weight.shape[0] !== out || weight.shape[1] !== inputs) {
      throw new RangeError(`replaceWeight: ${this.name} has a weight [${out},${inputs}], got [${weight.shape}]`);
    }
    releaseTransposed(this.#weight);
    this.#weight.dispose();
    this.#weight = weight;
    keepTransposed(weight);
  }

  /** [T, in] → [T, out]: the frozen product with all channels. */
  base(x: tf.Tensor2D): tf.Tensor2D {
    return linear(x, this.#weight, this.bias);
  }

  /** `base` [T, out], however computed, with the adapter's share for `x` [T, in]. */
  adapt(x: tf.Tensor2D, base: tf.Tensor2D, call: AdapterCall): tf.Tensor2D {
    return this.adapter === null ? base : this.adapter.forward(x, base, call);
  }

  /** What an op that spans several products needs of this layer; null where its adapter has to be asked with the base at hand. */
  frozen(keep: ChannelSelection | null, call: AdapterCall): FrozenLayer | null {
    const lora = this.adapter?.branch?.(call) ?? null;
    return this.adapter !== null && lora === null ? null : { weight: this.#weight, bias: this.bias, keep, lora };
  }

  dispose(): void {
    releaseTransposed(this.#weight);
    this.#weight.dispose();
    this.bias?.dispose();
  }
}
