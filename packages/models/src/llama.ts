/**
 * @file The Llama architecture as a frozen base to which adapters and sparsity attach (transformers' `modeling_llama.py`).
 *
 * Activations are [T, …] over the tokens of a packed batch, in the layout's row order from the embedding to the loss; positions start anew
 * with each sequence.
 */

import { type SparsityHost, type SparsityPlan, type TrainingSparsity, tensorsDigest } from '@spft/estimator';
import {
  type AdapterHost,
  baseFingerprint,
  type EmbeddingAdapter,
  type EmbeddingLayers,
  type LinearAdapter,
} from '@spft/peft';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { gatherRows, type HeadLayout, type PackedLayout, rmsNorm } from '@spft/sparse-ops';
import { constant } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { withPacked } from './bitsandbytes.js';
import { EMBEDDING, Embeddings, HEAD } from './embedding-layers.js';
import { embeddingNoise } from './embedding-noise.js';
import { frozenNumbers } from './frozen-numbers.js';
import { batchRows, checkIds, requireLengths } from './labelled-rows.js';
import type { LinearLayer } from './linear-layer.js';
import type { LlamaConfig } from './llama-config.js';
import { LOAD_OPTIONS, type LoadOptions } from './load-options.js';
import { type LlamaBody, readLlama } from './load-weights.js';
import { RopeCache } from './rope-cache.js';
import { runLayer } from './run-layer.js';
import { deriveSeed } from './seed.js';
import type { KeysValuesListener, OutputRows, Step } from './step.js';
import { aliased, listed, resolveTying } from './tied-head.js';
import type {
  ForwardOptions,
  PackedBatch,
  PreparedBatch,
  RecordableLoss,
  RunnableLayers,
  TrainableModel,
  WeightSource,
} from './types.js';

/** Owns its frozen weights; adapters and plans belong to whoever attached them. */
export class LlamaForCausalLM implements AdapterHost, SparsityHost, TrainableModel, RunnableLayers {
  readonly linears: ReadonlyMap<string, LinearLayer>;
  /** Embedding and head, for inference and for adapters; owned here. */
  readonly embeddingLayers: Embeddings;
  readonly #config: LlamaConfig;
  readonly #rope: RopeCache;
  #plan: SparsityPlan | null = null;
  /** Counts what was attached and replaced. */
  #attached = 0;

  private constructor(
    config: LlamaConfig,
    /** What is frozen between embedding and head, for inference; owned here. */
    readonly parts: LlamaBody,
    embeddings: Embeddings,
  ) {
    this.#config = config;
    this.embeddingLayers = embeddings;
    this.linears = new Map(parts.layers.flatMap((layer) => layer.linears.map((l) => [l.name, l])));
    this.#rope = new RopeCache({ headDim: config.headDim, theta: config.ropeTheta, scaling: config.ropeScaling });
  }

  /**
   * A model with its weights on the active backend. Where the config ties the head to the embedding and the weights have another head, that
   * one is used and `config` of the model says so.
   * @throws ModelError when a weight is missing, has another shape than the config says, or is left over.
   */
  static async fromWeights(
    config: LlamaConfig,
    weights: WeightSource,
    options: LoadOptions = {},
  ): Promise<LlamaForCausalLM> {
    assertKnownOptions('LlamaForCausalLM.fromWeights', options, LOAD_OPTIONS);
    const all = await withPacked(listed(weights));
    const tying = await resolveTying(config, all);
    const source = aliased(all, tying.standsFor);
    const { embedTokens, lmHead, ...body } = await readLlama(tying.config, source, options);
    return new LlamaForCausalLM(tying.config, body, new Embeddings(embedTokens, lmHead));
  }

  /** `tieWordEmbeddings` as it is: a head that an adapter was merged into is no longer the embedding. */
  get config(): LlamaConfig {
    const { tied } = this.embeddingLayers;
    return tied === this.#config.tieWordEmbeddings ? this.#config : { ...this.#config, tieWordEmbeddings: tied };
  }

  get embeddings(): EmbeddingLayers {
    return this.embeddingLayers.layers;
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
    const numbers = frozenNumbers(this.linears);
    const linears = new Set([...this.linears.keys()].map((name) => `${name}.weight`));
    return {
      base,
      'base.others': await tensorsDigest([...this.tensors].filter(([name]) => !linears.has(name))),
      ...(numbers && { base_precision: numbers.forms.join('+') }),
      ...(numbers && numbers.plain.length > 0 && { modules_to_not_convert: numbers.plain.join(',') }),
      ...(await this.sparsity?.sparsityIdentity?.()),
    };
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
    const named = new Map<string, tf.Variable>(this.embeddingLayers.inputVariables);
    for (const { name, adapter } of this.linears.values()) {
      for (const [suffix, variable] of adapter?.variables ?? []) named.set(`${name}.${suffix}`, variable);
    }
    for (const [name, variable] of this.embeddingLayers.outputVariables) named.set(name, variable);
    return named;
  }

  /** Every frozen tensor by its name in a checkpoint; `lm_head.weight` only where it is not tied. Owned by the model. */
  get tensors(): ReadonlyMap<string, tf.Tensor> {
    const { layers, norm } = this.parts;
    const { inputWeight, outputWeight, tied } = this.embeddingLayers;
    const named = new Map<string, tf.Tensor>([[`${EMBEDDING}.weight`, inputWeight]]);
    layers.forEach((layer, n) => {
      for (const { name, weight, bias } of layer.linears) {
        named.set(`${name}.weight`, weight);
        if (bias !== null) named.set(`${name}.bias`, bias);
      }
      named.set(`model.layers.${n}.input_layernorm.weight`, layer.inputNorm);
      named.set(`model.layers.${n}.post_attention_layernorm.weight`, layer.postAttentionNorm);
    });
    named.set('model.norm.weight', norm);
    if (!tied) named.set(`${HEAD}.weight`, outputWeight);
    return named;
  }

  /** @throws RangeError when there is no linear layer of that name. */
  frozenWeight(name: string): tf.Tensor2D {
    return this.#linear(name).weight;
  }

  setSparsity(plan: SparsityPlan | null): void {
    this.#attached++;
    this.#plan = plan;
  }

  setAdapter(linearName: string, adapter: LinearAdapter | null): void {
    this.#attached++;
    if (linearName === HEAD) this.embeddingLayers.outputAdapter = adapter;
    else this.#linear(linearName).adapter = adapter;
  }

  setEmbeddingAdapter(adapter: EmbeddingAdapter | null): void {
    this.#attached++;
    this.embeddingLayers.inputAdapter = adapter;
  }

  replaceWeight(name: string, weight: tf.Tensor2D): void {
    this.#attached++;
    if (name === EMBEDDING || name === HEAD) this.embeddingLayers.replace(name, weight);
    else this.#linear(name).replaceWeight(weight);
  }

  /** @throws RangeError when an id or a label is none of this model; UnlabelledBatchError when nothing has a label. */
  loss(batch: PackedBatch, options: ForwardOptions & { readonly normalizer: number }): tf.Scalar {
    return this.#loss({ layout: batch.layout, rows: batchRows(batch, this.vocabSize) }, options);
  }

  #loss(
    { layout: packed, rows }: PreparedBatch,
    options: ForwardOptions & { readonly normalizer: number | tf.Scalar } & Partial<Pick<Step, 'maskSeeds' | 'plan'>>,
  ): tf.Scalar {
    const layout = rows.scoreRows ? { ...packed, scoreRows: rows.scoreRows } : packed;
    return tf.tidy(() => {
      const outputRows = { rows: tf.tensor1d(rows.lossRows, 'int32'), dense: rows.denseLossRows };
      const hidden = this.#hidden(layout, rows.ids, options, outputRows);
      const normed = rmsNorm(hidden, this.parts.norm, this.config.rmsNormEps);
      const { training, seed, labelSmoothing = 0 } = options;
      const sum = this.embeddingLayers.loss(normed, rows.lossLabels, { call: { training, seed }, labelSmoothing });
      return tf.div(sum, options.normalizer) as tf.Scalar;
    });
  }

  /** For recordings of steps; what is attached to the model is in the key. */
  readonly recordable: RecordableLoss = {
    key: (padded) => {
      const { attentionBias, mlpBias, ropeScaling } = this.config;
      // Its frequencies depend on the batch's longest sequence, which a recording does not read.
      if (ropeScaling?.ropeType === 'dynamic') return null;
      // Their loss is computed over chunks of the rows that there are, and padded rows would count.
      if (this.embeddingLayers.isAdapted) return null;
      const sparse = this.#plan?.enabled ?? false;
      // Rows of padding must be zeros for estimators, and a bias is added to them too.
      const { estimator } = sparse ? this.#plan! : { estimator: null };
      if (estimator?.remembers) return null;
      if (estimator && padded && (attentionBias || mlpBias || !estimator.ignoresZeroRows)) return null;
      return `${this.#attached} ${sparse ? 'sparse' : 'dense'}`;
    },
    rows: (batch) => {
      const rows = batchRows(batch, this.config.vocabSize);
      const scoreRows = this.#plan?.enabled ? this.#plan.estimator.scoredRows?.(batch.layout) : undefined;
      return scoreRows ? { ...rows, scoreRows } : rows;
    },
    maskSeeds: (seed) =>
      Int32Array.from(
        this.parts.layers.flatMap(({ linears }, layer) =>
          linears.map(({ adapter }, part) => adapter?.maskSeed?.(deriveSeed(seed, layer, part)) ?? 0),
        ),
      ),
    loss: (batch, { onSelection: listener = null, ...options }) => {
      const plan = this.#plan?.enabled ? { ...this.#plan, listener } : null;
      return this.#loss(batch, { ...options, plan });
    },
    listener: () => (this.#plan?.enabled ? this.#plan.listener : null),
    parameterCount: () => this.parameterCount,
  };

  /**
   * Logits of every token: for tests and small inputs, as a loss needs those of labelled tokens alone and generation the last ones.
   * @returns [T, V] in packed order, owned by the caller.
   */
  logits(batch: PackedBatch, options: ForwardOptions = { training: false, seed: 0 }): tf.Tensor2D {
    const { layout, inputIds } = batch;
    requireLengths(batch);
    checkIds(inputIds, this.config.vocabSize);
    return tf.tidy(() => {
      const ids = layout.tokenOfRow.map((token) => inputIds[token]!);
      const packed = gatherRows(this.#hidden(layout, ids, options), tf.tensor1d(layout.rowOfToken, 'int32'));
      const { training, seed } = options;
      return this.embeddingLayers.logits(rmsNorm(packed, this.parts.norm, this.config.rmsNormEps), { training, seed });
    });
  }

  /**
   * Some rows of the last hidden state after the last norm: what a head of another kind is put on.
   * @param rows ascending, of the layout.
   * @returns [rows.length, H], owned by the caller.
   */
  normedRows(batch: PackedBatch, rows: Int32Array, options: ForwardOptions): tf.Tensor2D {
    const { layout, inputIds } = batch;
    return tf.tidy(() => {
      const ids = layout.tokenOfRow.map((token) => inputIds[token]!);
      const dense = rows.filter((row) => row < layout.denseTokens).length;
      const hidden = this.#hidden(layout, ids, options, { rows: tf.tensor1d(rows, 'int32'), dense });
      return rmsNorm(hidden, this.parts.norm, this.config.rmsNormEps);
    });
  }

  /**
   * Last hidden states [T, H] of a batch as a sparse step computes it, whether or not the plan is switched on; without a gradient's means.
   * @param onKeysValues shown the keys and values of each layer, for who goes on from there.
   * @returns in row order, owned by the caller.
   * @throws TypeError when no sparsity is attached; RangeError when an id has no embedding.
   */
  sparseHidden(layout: PackedLayout, inputIds: ArrayLike<number>, onKeysValues: KeysValuesListener): tf.Tensor2D {
    const plan = this.#plan;
    if (plan === null)
      throw new TypeError('sparseHidden: no sparsity is attached to the model; make it an SpftModel first');
    const ids = layout.tokenOfRow.map((token) => inputIds[token]!);
    checkIds(ids, this.config.vocabSize);
    return tf.tidy(() => this.#hidden(layout, ids, { training: false, seed: 0, plan, onKeysValues }));
  }

  /** cos and sin [positions.length, d/2], owned by the caller. */
  ropeRows(positions: Int32Array): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
    return this.#rope.rows(positions);
  }

  /** The same, looked up on the device, of positions below `most`; not for dynamic scaling. */
  ropeRowsOnDevice(positions: Int32Array, most: number): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
    return this.#rope.rowsOnDevice(positions, most);
  }

  /**
   * Embedding rows [ids.length, H], a constant in every gradient unless an adapter is on the embedding; owned by the caller.
   * @throws RangeError when an id has no row.
   */
  embed(ids: Int32Array): tf.Tensor2D {
    checkIds(ids, this.config.vocabSize);
    return this.embeddingLayers.embed(ids);
  }

  dispose(): void {
    const { layers, norm } = this.parts;
    norm.dispose();
    this.embeddingLayers.dispose();
    this.#rope.dispose();
    for (const layer of layers) layer.dispose();
  }

  /** For measuring: the plan and the adapters are those that are attached, and `rows` are the batch's where a step's would be. */
  layerOutput(
    layer: number,
    x: tf.Tensor2D,
    { layout: packed, rows }: PreparedBatch,
    options: ForwardOptions & { readonly maskSeeds?: Int32Array },
  ): tf.Tensor2D {
    const layout = rows.scoreRows ? { ...packed, scoreRows: rows.scoreRows } : packed;
    return tf.tidy(() => {
      const step = this.#step(layout, options);
      return runLayer(this.parts.layers[layer]!, x, step, null, options.gradientCheckpointing);
    });
  }

  #step(
    layout: PackedLayout,
    options: ForwardOptions & Partial<Pick<Step, 'maskSeeds' | 'plan' | 'onKeysValues'>>,
  ): Step {
    const { positionOfRow, longest } = layout;
    const { cos, sin } =
      longest === undefined ? this.ropeRows(positionOfRow) : this.#rope.rowsOnDevice(positionOfRow, longest);
    const { training, seed } = options;
    const { maskSeeds = null, plan = this.#plan?.enabled ? this.#plan : null, onKeysValues } = options;
    return { layout, cos, sin, training, seed, maskSeeds, plan, ...(onKeysValues && { onKeysValues }) };
  }

  /** What the last norm is applied to: [T, H] in row order, or a row for each of those wanted. */
  #hidden(
    layout: PackedLayout,
    ids: Int32Array,
    options: ForwardOptions & Partial<Pick<Step, 'maskSeeds' | 'plan' | 'onKeysValues'>>,
    outputRows: OutputRows | null = null,
  ): tf.Tensor2D {
    const step = this.#step(layout, options);
    const { training, seed } = options;
    const { embeddingLayers } = this;
    // Frozen rows get no gradient, and the first layer then need not make one.
    const known = <T extends tf.Tensor>(x: T): T => (embeddingLayers.inputAdapter === null ? constant(x) : x);
    let x = known(embeddingLayers.embed(ids));
    const { neftuneNoiseAlpha = 0 } = options;
    if (training && neftuneNoiseAlpha > 0) {
      const noise = embeddingNoise(layout, this.hiddenSize, neftuneNoiseAlpha, seed);
      x = known(tf.add(x, tf.tensor2d(noise, [layout.tokens, this.hiddenSize])));
    }
    const { layers } = this.parts;
    if (layers.length === 0) return outputRows ? gatherRows(x, outputRows.rows) : x;
    for (const [n, layer] of layers.entries()) {
      const ofThis = n === layers.length - 1 ? outputRows : null;
      x = runLayer(layer, x, step, ofThis, options.gradientCheckpointing);
    }
    return x;
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
