/**
 * @file The forward pass of generation, always with all channels. Adapters on plain weights are merged for the while, so that a step costs what the base
 * model's would, DoRA's included. Beside a matrix in 4 bits, which a step reads at a quarter of the cost, they stay.
 */
import { type FrozenWeight, linear, rmsNorm, rope, swiglu } from '@spft/sparse-ops';
import { packedKind } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { DecoderLayer } from '../decoder-layer.js';
import type { LinearLayer } from '../linear-layer.js';
import type { LlamaForCausalLM } from '../llama.js';

/** How a layer's queries [rows, N·d] find their keys and values: all rotated and in packed order; gives [rows, N·d]. */
export type Attend = (layer: number, q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D) => tf.Tensor2D;

/** Whether a layer has an adapter that is not merged. */
export const staysBeside = (layer: LinearLayer): boolean => layer.adapter !== null && Boolean(packedKind(layer.weight));

/** Owns merged weights; the model's weights stay the model's. */
export class DensePass {
  readonly #merged = new Map<LinearLayer, tf.Tensor2D>();
  readonly #head: tf.Tensor2D | null;

  constructor(private readonly model: LlamaForCausalLM) {
    for (const layer of model.linears.values()) {
      if (layer.adapter !== null && !staysBeside(layer)) this.#merged.set(layer, tf.keep(layer.adapter.mergedWeight()));
    }
    const { outputAdapter } = model.embeddingLayers;
    this.#head = outputAdapter && tf.keep(outputAdapter.mergedWeight());
  }

  /** A layer's weight with its adapter, owned here or by the model; without it where it stays beside (`staysBeside`). */
  weightOf(layer: LinearLayer): FrozenWeight {
    return { weight: this.#merged.get(layer) ?? layer.weight, bias: layer.bias };
  }

  /** @returns the last hidden states [ids.length, H], owned by the caller. */
  hidden(ids: Int32Array, positions: Int32Array, attend: Attend): tf.Tensor2D {
    return tf.tidy(() => {
      const { cos, sin } = this.model.ropeRows(positions);
      let x = this.model.embed(ids);
      for (const layer of this.model.parts.layers) x = tf.tidy(() => this.#layer(layer, x, cos, sin, attend));
      return x;
    });
  }

  /** Logits [rows, V] of hidden states, owned by the caller. */
  logits(hidden: tf.Tensor2D): tf.Tensor2D {
    const { parts, config, embeddingLayers } = this.model;
    const head = this.#head ?? embeddingLayers.outputWeight;
    return tf.tidy(() => linear(rmsNorm(hidden, parts.norm, config.rmsNormEps), head));
  }

  dispose(): void {
    for (const weight of this.#merged.values()) weight.dispose();
    this.#merged.clear();
    this.#head?.dispose();
  }

  #layer(layer: DecoderLayer, x: tf.Tensor2D, cos: tf.Tensor2D, sin: tf.Tensor2D, attend: Attend): tf.Tensor2D {
    const { attention, mlp } = layer;
    const { headDim } = attention.heads;
    const normed = rmsNorm(x, layer.inputNorm, layer.eps);
    const q = rope(this.#linear(attention.q, normed), cos, sin, headDim);
    const k = rope(this.#linear(attention.k, normed), cos, sin, headDim);
    const mixed = attend(attention.layer, q, k, this.#linear(attention.v, normed));
    const attended = tf.add(x, this.#linear(attention.o, mixed)) as tf.Tensor2D;
    const h = rmsNorm(attended, layer.postAttentionNorm, layer.eps);
    const activations = swiglu(this.#linear(mlp.gate, h), this.#linear(mlp.up, h));
    return tf.add(attended, this.#linear(mlp.down, activations));
  }

  #linear(layer: LinearLayer, x: tf.Tensor2D): tf.Tensor2D {
    if (staysBeside(layer)) return layer.adapt(x, layer.base(x), { training: false, seed: 0 });
    const { weight, bias } = this.weightOf(layer);
    return linear(x, weight, bias);
  }
}
