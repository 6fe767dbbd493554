/** @file Generation on every backend: keys and values grow by a token a step, and so does what a step computes. */
import * as tf from '@tensorflow/tfjs';
import type { LlamaForCausalLM } from '../llama.js';
import { DensePass } from './dense-pass.js';
import { KeyValueCache } from './kv-cache.js';
import { choiceOf, type DecoderOptions, readPrompts, type TokenDecoder } from './token-decoder.js';

/** Owns its cache and merged weights; the model's weights stay the model's. */
export class Decoder implements TokenDecoder {
  readonly takesTensors = false;
  readonly #pass: DensePass;
  #cache: KeyValueCache | null = null;
  /** Position of the next token of each row. */
  #positions: number[] = [];

  constructor(
    private readonly model: LlamaForCausalLM,
    private readonly options: Pick<DecoderOptions, 'greedy' | 'densePromptTokens'>,
  ) {
    this.#pass = new DensePass(model);
  }

  prefill(prompts: readonly (readonly number[])[]): tf.Tensor {
    const lengths = prompts.map((prompt) => prompt.length);
    const heads = this.model.headLayout;
    const cache = new KeyValueCache(lengths, heads);
    this.#cache?.dispose();
    this.#cache = cache;
    this.#positions = lengths;
    return tf.tidy(() => {
      const reader = { model: this.model, pass: this.#pass, densePromptTokens: this.options.densePromptTokens };
      const hidden = readPrompts(reader, prompts, (layer, k, v) => cache.fill(layer, k, v));
      return choiceOf(this.#pass.logits(hidden), this.options.greedy);
    });
  }

  step(tokens: readonly number[] | tf.Tensor1D): tf.Tensor {
    if (tokens instanceof tf.Tensor) throw new TypeError('internal: this decoder takes no tensors');
    const cache = this.#cache!;
    const { heads: N, kvHeads: K, headDim: d } = this.model.headLayout;
    const positions = Int32Array.from(this.#positions);
    this.#positions = this.#positions.map((position) => position + 1);
    return tf.tidy(() => {
      cache.advance();
      const hidden = this.#pass.hidden(Int32Array.from(tokens), positions, (layer, q, k, v) => {
        const { keys, values } = cache.append(layer, k, v);
        // Products of one query each: the backends' batched product beats taking the batch apart, which pays an op for each sequence.
        const grouped = tf.reshape(tf.mul(q, 1 / Math.sqrt(d)), [-1, N / K, d]) as tf.Tensor3D;
        const scores = tf.matMul(grouped, keys, false, true);
        const p = tf.softmax(cache.mask ? tf.add(scores, cache.mask) : scores) as tf.Tensor3D;
        return tf.reshape(tf.matMul(p, values), [-1, N * d]) as tf.Tensor2D;
      });
      return choiceOf(this.#pass.logits(hidden), this.options.greedy);
    });
  }

  keepRows(rows: readonly number[]): void {
    this.#cache!.keepRows(rows);
    this.#positions = rows.map((row) => this.#positions[row]!);
  }

  dispose(): void {
    this.#cache?.dispose();
    this.#pass.dispose();
  }
}
