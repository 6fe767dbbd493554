/**
 * @file The forward pass of generation: prompts at once as a packed batch, then one token of every sequence a step, always with all
 * channels. Adapters on plain weights are merged for the while, so that a step costs what the base model's would, DoRA's included.
 */
import { linear, packedAttention, packTokens, rmsNorm, rope, swiglu } from '@spft/sparse-ops';
import { packedKind } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import type { DecoderLayer } from '../decoder-layer.js';
import type { LinearLayer } from '../linear-layer.js';
import type { LlamaForCausalLM } from '../llama.js';
import { KeyValueCache } from './kv-cache.js';

/** How a layer's queries [rows, N·d] find their keys and values: all rotated and in packed order; gives [rows, N·d]. */
type Attend = (layer: number, q: tf.Tensor2D, k: tf.Tensor2D, v: tf.Tensor2D) => tf.Tensor2D;

/** One batch of sequences under generation. Owns its cache and merged weights; the model's weights stay the model's. */
export class Decoder {
  readonly #merged = new Map<LinearLayer, tf.Tensor2D>();
  readonly #head: tf.Tensor2D | null;
  #cache: KeyValueCache | null = null;
  /** Position of the next token of each row. */
  #positions: number[] = [];

  constructor(private readonly model: LlamaForCausalLM) {
    for (const layer of model.linears.values()) {
      // Of a matrix in 4 bits, which a step reads at a quarter of the cost, the adapter stays beside it.
      if (layer.adapter !== null && !packedKind(layer.weight))
        this.#merged.set(layer, tf.keep(layer.adapter.mergedWeight()));
    }
    const { outputAdapter } = model.embeddingLayers;
    this.#head = outputAdapter && tf.keep(outputAdapter.mergedWeight());
  }

  /** Reads the prompts. @returns logits [B, V] of the token after each, owned by the caller. */
  prefill(prompts: readonly (readonly number[])[]): tf.Tensor2D {
    const lengths = prompts.map((prompt) => prompt.length);
    const layout = packTokens({ lengths, dense: () => true });
    const heads = this.model.headLayout;
    const cache = new KeyValueCache(lengths, heads);
    this.#cache?.dispose();
    this.#cache = cache;
    this.#positions = lengths;
    return tf.tidy(() => {
      const hidden = this.#forward(Int32Array.from(prompts.flat()), layout.positionOfRow, (layer, q, k, v) => {
        cache.fill(layer, k, v);
        return packedAttention(q, k, v, layout, heads);
      });
      const last = tf.tensor1d(
        layout.sequenceStarts.slice(1).map((end) => end - 1),
        'int32',
      );
      return this.#logits(tf.gather(hidden, last));
    });
  }

  /** Adds a token to each row. @returns logits [B, V] of the token after it, owned by the caller. */
  step(tokens: readonly number[]): tf.Tensor2D {
    const cache = this.#cache!;
    const { heads: N, kvHeads: K, headDim: d } = this.model.headLayout;
    const positions = Int32Array.from(this.#positions);
    this.#positions = this.#positions.map((position) => position + 1);
    return tf.tidy(() => {
      cache.advance();
      const hidden = this.#forward(Int32Array.from(tokens), positions, (layer, q, k, v) => {
        const { keys, values } = cache.append(layer, k, v);
        // Products of one query each: the backends' batched product beats taking the batch apart, which pays an op for each sequence.
        const grouped = tf.reshape(tf.mul(q, 1 / Math.sqrt(d)), [-1, N / K, d]) as tf.Tensor3D;
        const scores = tf.matMul(grouped, keys, false, true);
        const p = tf.softmax(cache.mask ? tf.add(scores, cache.mask) : scores) as tf.Tensor3D;
        return tf.reshape(tf.matMul(p, values), [-1, N * d]) as tf.Tensor2D;
      });
      return this.#logits(hidden);
    });
  }

  /** Goes on with these rows alone. */
  keepRows(rows: readonly number[]): void {
    this.#cache!.keepRows(rows);
    this.#positions = rows.map((row) => this.#positions[row]!);
  }

  dispose(): void {
    this.#cache?.dispose();
    for (const weight of this.#merged.values()) weight.dispose();
    this.#head?.dispose();
  }

  #forward(ids: Int32Array, positions: Int32Array, attend: Attend): tf.Tensor2D {
    const { cos, sin } = this.model.ropeRows(positions);
    let x = this.model.embed(ids);
    for (const layer of this.model.parts.layers) x = tf.tidy(() => this.#layer(layer, x, cos, sin, attend));
    return x;
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
    const merged = this.#merged.get(layer);
    if (merged) return linear(x, merged, layer.bias);
    return layer.adapt(x, layer.base(x), { training: false, seed: 0 });
  }

  #logits(hidden: tf.Tensor2D): tf.Tensor2D {
    const { parts, config, embeddingLayers } = this.model;
    return linear(rmsNorm(hidden, parts.norm, config.rmsNormEps), this.#head ?? embeddingLayers.outputWeight);
  }
}
