/**
 * @file The Llama architecture as a frozen base to which adapters and sparsity attach (transformers' `modeling_llama.py`).
 *
 * Activations are [T, …] over the tokens of a packed batch, in the layout's row order from the embedding to the loss; positions start anew
 * with each sequence.
 */
import type { SparsityHost, SparsityPlan, TrainingSparsity } from '@spft/estimator';
import { type AdapterHost, baseFingerprint, type LinearAdapter } from '@spft/peft';
import {
  constant,
  gatherRows,
  type HeadLayout,
  isRecording,
  linear,
  linearCrossEntropy,
  noGradient,
  rmsNorm,
} from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { checkpoint } from './checkpoint.js';
import type { DecoderLayer } from './decoder-layer.js';
import { labelledRows, requireTokens, UnlabelledBatchError } from './labelled-rows.js';
import type { LinearLayer } from './linear-layer.js';
import type { LlamaConfig } from './llama-config.js';
import { type LlamaParts, type LoadOptions, readLlama } from './load-weights.js';
import { RopeCache } from './rope-cache.js';
import type { OutputRows, Step } from './step.js';
import type { ForwardOptions, PackedBatch, TrainableModel, WeightSource } from './types.js';

/** Owns its frozen weights; adapters and plans belong to whoever attached them. */
export class LlamaForCausalLM implements AdapterHost, SparsityHost, TrainableModel {
  readonly linears: ReadonlyMap<string, LinearLayer>;
  readonly #rope: RopeCache;
  #plan: SparsityPlan | null = null;

  private constructor(
    readonly config: LlamaConfig,
    /** The frozen parts, for inference and for writing the model; owned here. */
    readonly parts: LlamaParts,
  ) {
    this.linears = new Map(parts.layers.flatMap((layer) => layer.linears.map((l) => [l.name, l])));
    this.#rope = new RopeCache({ headDim: config.headDim, theta: config.ropeTheta, scaling: config.ropeScaling });
  }

  /**
   * A model with its weights on the active backend.
   * @throws ModelError when a weight is missing, has another shape than the config says, or is left over.
   */
  static async fromWeights(
    config: LlamaConfig,
    weights: WeightSource,
    options: LoadOptions = {},
  ): Promise<LlamaForCausalLM> {
    return new LlamaForCausalLM(config, await readLlama(config, weights, options));
  }

  get layerCount(): number {
    return this.parts.layers.length;
  }

  get hiddenSize(): number {
    return this.config.hiddenSize;
  }

  get intermediateSize(): number {
    return this.config.intermediateSize;
  }

  get vocabSize(): number {
    return this.config.vocabSize;
  }

  /** Of the plan that is attached, so that a model which wraps this one knows of it too. */
  get sparsity(): TrainingSparsity | null {
    return this.#plan?.training ?? null;
  }

  /** Fingerprint of the frozen weights, and what the attached plan says of itself. */
  async identity(): Promise<Record<string, string>> {
    const base = await baseFingerprint(this);
    return { base, ...(await this.sparsity?.sparsityIdentity?.()) };
  }

  get headLayout(): HeadLayout {
    const { numAttentionHeads: heads, numKeyValueHeads: kvHeads, headDim } = this.config;
    return { heads, kvHeads, headDim };
  }

  /** Of the model without adapters; tied weights count once. */
  get parameterCount(): number {
    return [...this.tensors.values()].reduce((sum, tensor) => sum + tensor.size, 0);
  }

  get variables(): ReadonlyMap<string, tf.Variable> {
    const named = new Map<string, tf.Variable>();
    for (const { name, adapter } of this.linears.values()) {
      for (const [suffix, variable] of adapter?.variables ?? []) named.set(`${name}.${suffix}`, variable);
    }
    return named;
  }

  /** Every frozen tensor by its name in a checkpoint; `lm_head.weight` only where it is not tied. Owned by the model. */
  get tensors(): ReadonlyMap<string, tf.Tensor> {
    const { embedTokens, layers, norm, lmHead } = this.parts;
    const named = new Map<string, tf.Tensor>([['model.embed_tokens.weight', embedTokens]]);
    layers.forEach((layer, n) => {
      for (const { name, weight, bias } of layer.linears) {
        named.set(`${name}.weight`, weight);
        if (bias !== null) named.set(`${name}.bias`, bias);
      }
      named.set(`model.layers.${n}.input_layernorm.weight`, layer.inputNorm);
      named.set(`model.layers.${n}.post_attention_layernorm.weight`, layer.postAttentionNorm);
    });
    named.set('model.norm.weight', norm);
    if (lmHead !== embedTokens) named.set('lm_head.weight', lmHead);
    return named;
  }

  /** @throws RangeError when there is no linear layer of that name. */
  frozenWeight(name: string): tf.Tensor2D {
    return this.#linear(name).weight;
  }

  setSparsity(plan: SparsityPlan | null): void {
    this.#plan = plan;
  }

  setAdapter(linearName: string, adapter: LinearAdapter | null): void {
    this.#linear(linearName).adapter = adapter;
  }

  replaceWeight(linearName: string, weight: tf.Tensor2D): void {
    this.#linear(linearName).replaceWeight(weight);
  }

  /** @throws RangeError when an id or a label is none of this model; UnlabelledBatchError when nothing has a label. */
  loss(batch: PackedBatch, options: ForwardOptions & { readonly normalizer: number }): tf.Scalar {
    requireTokens(batch, this.vocabSize);
    const labelled = labelledRows(batch);
    if (labelled.rows.length === 0) {
      throw new UnlabelledBatchError(
        `the batch has no labelled token to predict among its ${batch.inputIds.length} tokens, so it has no loss; ` +
          'leave such samples out, or raise the maximum length if it cut their answers off',
      );
    }
    return tf.tidy(() => {
      // Ascending, so that of these rows too the dense ones come first; the order of a sum's terms is free.
      const order = [...labelled.rows.keys()].sort((a, b) => labelled.rows[a]! - labelled.rows[b]!);
      const rows = Int32Array.from(order, (n) => labelled.rows[n]!);
      const labels = Int32Array.from(order, (n) => labelled.labels[n]!);
      const dense = rows.filter((row) => row < batch.layout.denseTokens).length;
      const hidden = this.#hidden(batch, options, { rows: tf.tensor1d(rows, 'int32'), dense });
      const normed = rmsNorm(hidden, this.parts.norm, this.config.rmsNormEps);
      const sum = linearCrossEntropy(normed, this.parts.lmHead, tf.tensor1d(labels, 'int32'));
      return tf.div(sum, options.normalizer) as tf.Scalar;
    });
  }

  /**
   * Logits of every token: for tests and small inputs, as a loss needs those of labelled tokens alone and generation the last ones.
   * @returns [T, V] in packed order, owned by the caller.
   */
  logits(batch: PackedBatch, options: ForwardOptions = { training: false, seed: 0 }): tf.Tensor2D {
    return tf.tidy(() => {
      const packed = gatherRows(this.#hidden(batch, options), tf.tensor1d(batch.layout.rowOfToken, 'int32'));
      return linear(rmsNorm(packed, this.parts.norm, this.config.rmsNormEps), this.parts.lmHead);
    });
  }

  /** cos and sin [positions.length, d/2], owned by the caller. */
  ropeRows(positions: Int32Array): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
    return this.#rope.rows(positions);
  }

  /** Embedding rows [ids.length, H], a constant in every gradient, owned by the caller. @throws RangeError when an id has no row. */
  embed(ids: Int32Array): tf.Tensor2D {
    const { vocabSize } = this.config;
    const wrong = ids.find((id) => !(id >= 0 && id < vocabSize));
    if (wrong !== undefined) {
      throw new RangeError(
        `token id ${wrong} has no embedding: the model has ${vocabSize}; was the text encoded with another model's tokenizer?`,
      );
    }
    return noGradient(() => tf.tidy(() => gatherRows(this.parts.embedTokens, tf.tensor1d(ids, 'int32'))));
  }

  dispose(): void {
    const { embedTokens, layers, norm, lmHead } = this.parts;
    tf.dispose([embedTokens, norm, lmHead]);
    for (const layer of layers) layer.dispose();
  }

  /** What the last norm is applied to: [T, H] in row order, or a row for each of those wanted. */
  #hidden(batch: PackedBatch, options: ForwardOptions, outputRows: OutputRows | null = null): tf.Tensor2D {
    const { layout, inputIds, labels } = batch;
    if (inputIds.length !== layout.tokens || labels.length !== layout.tokens) {
      throw new RangeError(
        `batch: inputIds (${inputIds.length}) and labels (${labels.length}) must have one entry for each of the layout's ` +
          `${layout.tokens} tokens`,
      );
    }
    const { cos, sin } = this.ropeRows(layout.positionOfRow);
    const { training, seed } = options;
    const plan = this.#plan?.enabled ? this.#plan : null;
    const step: Step = { layout, cos, sin, training, seed, plan };
    let x = constant(this.embed(layout.tokenOfRow.map((token) => inputIds[token]!)));
    const { layers } = this.parts;
    if (layers.length === 0) return outputRows ? gatherRows(x, outputRows.rows) : x;
    for (const [n, layer] of layers.entries()) {
      const ofThis = n === layers.length - 1 ? outputRows : null;
      x = this.#layer(layer, x, step, ofThis, options.gradientCheckpointing ?? false);
    }
    return x;
  }

  #layer(
    layer: DecoderLayer,
    x: tf.Tensor2D,
    step: Step,
    outputRows: OutputRows | null,
    checkpointing: boolean,
  ): tf.Tensor2D {
    // The scope ends what neither the result nor a gradient needs, layer by layer and not at the end of the forward.
    if (!checkpointing || !isRecording()) return tf.tidy(() => layer.forward(x, step, outputRows));
    const run =
      (plan: SparsityPlan | null) =>
      (input: tf.Tensor2D, [cos, sin, rows]: readonly [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D?]) =>
        layer.forward(input, { ...step, cos, sin, plan }, rows ? { rows, dense: outputRows!.dense } : null);
    const quiet = step.plan && { ...step.plan, listener: null };
    const constants = outputRows ? ([step.cos, step.sin, outputRows.rows] as const) : ([step.cos, step.sin] as const);
    return checkpoint(run(step.plan), x, constants, layer.variables, run(quiet));
  }

  #linear(name: string): LinearLayer {
    const found = this.linears.get(name);
    if (found) return found;
    throw new RangeError(
      `the model has no linear layer '${name}'; it has ${[...this.linears.keys()].slice(0, 7).join(', ')} and the same in ` +
        `layers 1 to ${this.layerCount - 1}`,
    );
  }
}
