/**
 * @file The Llama architecture as a frozen base to which adapters and sparsity attach (transformers' `modeling_llama.py`).
 *
 * Activations are [T, …] over the tokens of a packed batch, in the layout's row order from the embedding to the loss; positions start anew
 * with each sequence.
 */
import { type SparsityHost, type SparsityPlan, type TrainingSparsity, tensorsDigest } from '@spft/estimator';
import { type AdapterHost, baseFingerprint, type LinearAdapter } from '@spft/peft';
import {
  gatherRows,
  type HeadLayout,
  linear,
  linearCrossEntropy,
  noGradient,
  type OnTopOptions,
  type PackedLayout,
  rmsNorm,
} from '@spft/sparse-ops';
import { constant, formOf, isRecording } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { checkpoint } from './checkpoint.js';
import type { DecoderLayer, LayerHalf } from './decoder-layer.js';
import { embeddingNoise } from './embedding-noise.js';
import { batchRows, checkIds, requireLengths } from './labelled-rows.js';
import type { LinearLayer } from './linear-layer.js';
import type { LlamaConfig } from './llama-config.js';
import { type LlamaParts, type LoadOptions, readLlama } from './load-weights.js';
import { RopeCache } from './rope-cache.js';
import { deriveSeed } from './seed.js';
import type { OutputRows, Step } from './step.js';
import { aliased, listed, resolveTying } from './tied-head.js';
import type {
  ForwardOptions,
  PackedBatch,
  PreparedBatch,
  RecordableLoss,
  TrainableModel,
  WeightSource,
} from './types.js';

/** Owns its frozen weights; adapters and plans belong to whoever attached them. */
export class LlamaForCausalLM implements AdapterHost, SparsityHost, TrainableModel {
  readonly linears: ReadonlyMap<string, LinearLayer>;
  readonly #rope: RopeCache;
  #plan: SparsityPlan | null = null;
  /** Counts what was attached and replaced. */
  #attached = 0;
  /** [H], the mean of the head's rows, once label smoothing has asked for it. */
  #meanHead: tf.Tensor1D | null = null;

  private constructor(
    readonly config: LlamaConfig,
    /** The frozen parts, for inference and for writing the model; owned here. */
    readonly parts: LlamaParts,
  ) {
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
    const all = listed(weights);
    const tying = await resolveTying(config, all);
    const source = aliased(all, tying.standsFor);
    return new LlamaForCausalLM(tying.config, await readLlama(tying.config, source, options));
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
    const forms = new Set([...this.linears.values()].flatMap(({ weight }) => formOf(weight) ?? []));
    const linears = new Set([...this.linears.keys()].map((name) => `${name}.weight`));
    return {
      base,
      'base.others': await tensorsDigest([...this.tensors].filter(([name]) => !linears.has(name))),
      ...(forms.size > 0 && { base_precision: [...forms].join('+') }),
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
    this.#attached++;
    this.#plan = plan;
  }

  setAdapter(linearName: string, adapter: LinearAdapter | null): void {
    this.#attached++;
    this.#linear(linearName).adapter = adapter;
  }

  replaceWeight(linearName: string, weight: tf.Tensor2D): void {
    this.#attached++;
    this.#linear(linearName).replaceWeight(weight);
  }

  /** @throws RangeError when an id or a label is none of this model; UnlabelledBatchError when nothing has a label. */
  loss(batch: PackedBatch, options: ForwardOptions & { readonly normalizer: number }): tf.Scalar {
    return this.#loss({ layout: batch.layout, rows: batchRows(batch, this.vocabSize) }, options);
  }

  #loss(
    { layout, rows }: PreparedBatch,
    options: ForwardOptions & { readonly normalizer: number | tf.Scalar; readonly maskSeeds?: Int32Array },
  ): tf.Scalar {
    return tf.tidy(() => {
      const outputRows = { rows: tf.tensor1d(rows.lossRows, 'int32'), dense: rows.denseLossRows };
      const hidden = this.#hidden(layout, rows.ids, options, outputRows);
      const normed = rmsNorm(hidden, this.parts.norm, this.config.rmsNormEps);
      const sum = linearCrossEntropy(normed, this.parts.lmHead, tf.tensor1d(rows.lossLabels, 'int32'));
      const { labelSmoothing = 0 } = options;
      const smoothed = labelSmoothing > 0 ? tf.add(sum, this.#smoothing(normed, rows.lossLabels, labelSmoothing)) : sum;
      return tf.div(smoothed, options.normalizer) as tf.Scalar;
    });
  }

  /** For recordings of steps; what is attached to the model is in the key. */
  readonly recordable: RecordableLoss = {
    key: (padded) => {
      const { attentionBias, mlpBias, ropeScaling } = this.config;
      // Its frequencies depend on the batch's longest sequence, which a recording does not read.
      if (ropeScaling?.ropeType === 'dynamic') return null;
      const sparse = this.#plan?.enabled ?? false;
      // A listener reads what was chosen. Rows of padding must be zeros for estimators, and a bias is added to them too.
      const { listener, estimator } = sparse ? this.#plan! : { listener: null, estimator: null };
      if (listener || estimator?.remembers) return null;
      if (estimator && padded && (attentionBias || mlpBias || !estimator.ignoresZeroRows)) return null;
      return `${this.#attached} ${sparse ? 'sparse' : 'dense'}`;
    },
    rows: (batch) => batchRows(batch, this.config.vocabSize),
    maskSeeds: (seed) =>
      Int32Array.from(
        this.parts.layers.flatMap(({ linears }, layer) =>
          linears.map(({ adapter }, part) => adapter?.maskSeed?.(deriveSeed(seed, layer, part)) ?? 0),
        ),
      ),
    loss: (batch, options) => this.#loss(batch, options),
  };

  /**
   * What label smoothing adds to the cross-entropy: the smoothed loss (1 − ε)·(lse − z_y) + ε·(lse − mean z) is that of the label plus
   * ε·(z_y − mean z), and logits are linear in the hidden state, so that of the whole vocabulary only the mean row of the head is needed.
   */
  #smoothing(normed: tf.Tensor2D, labels: Int32Array, epsilon: number): tf.Scalar {
    const { lmHead } = this.parts;
    const rows = noGradient(() => {
      this.#meanHead ??= tf.keep(tf.tidy(() => tf.mean(lmHead, 0) as tf.Tensor1D));
      return tf.mul(tf.sub(gatherRows(lmHead, tf.tensor1d(labels, 'int32')), this.#meanHead), epsilon);
    });
    return tf.sum(tf.mul(normed, constant(rows)));
  }

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
      return linear(rmsNorm(packed, this.parts.norm, this.config.rmsNormEps), this.parts.lmHead);
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

  /** cos and sin [positions.length, d/2], owned by the caller. */
  ropeRows(positions: Int32Array): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
    return this.#rope.rows(positions);
  }

  /** Embedding rows [ids.length, H], a constant in every gradient, owned by the caller. @throws RangeError when an id has no row. */
  embed(ids: Int32Array): tf.Tensor2D {
    checkIds(ids, this.config.vocabSize);
    return this.#embed(ids);
  }

  #embed(ids: Int32Array): tf.Tensor2D {
    return noGradient(() => tf.tidy(() => gatherRows(this.parts.embedTokens, tf.tensor1d(ids, 'int32'))));
  }

  dispose(): void {
    const { embedTokens, layers, norm, lmHead } = this.parts;
    tf.dispose([embedTokens, norm, lmHead]);
    this.#rope.dispose();
    this.#meanHead?.dispose();
    this.#meanHead = null;
    for (const layer of layers) layer.dispose();
  }

  /** What the last norm is applied to: [T, H] in row order, or a row for each of those wanted. */
  #hidden(
    layout: PackedLayout,
    ids: Int32Array,
    options: ForwardOptions & { readonly maskSeeds?: Int32Array },
    outputRows: OutputRows | null = null,
  ): tf.Tensor2D {
    const { positionOfRow, longest } = layout;
    const { cos, sin } =
      longest === undefined ? this.ropeRows(positionOfRow) : this.#rope.rowsOnDevice(positionOfRow, longest);
    const { training, seed } = options;
    const plan = this.#plan?.enabled ? this.#plan : null;
    const step: Step = { layout, cos, sin, training, seed, maskSeeds: options.maskSeeds ?? null, plan };
    let x = constant(this.#embed(ids));
    const { neftuneNoiseAlpha = 0 } = options;
    if (training && neftuneNoiseAlpha > 0) {
      const noise = embeddingNoise(layout, this.hiddenSize, neftuneNoiseAlpha, seed);
      x = constant(tf.add(x, tf.tensor2d(noise, [layout.tokens, this.hiddenSize])));
    }
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
    return layer.halves(step, outputRows).reduce((x, half) => this.#checkpointed(half, x, step), x);
  }

  /** With an input for each half of a layer, the last product of either is not made again: a third of a forward, for [T, H] more of each layer. */
  #checkpointed(half: LayerHalf, x: tf.Tensor2D, step: Step): tf.Tensor2D {
    const { outputRows } = half;
    const run =
      (plan: SparsityPlan | null, options?: OnTopOptions) =>
      (input: tf.Tensor2D, [cos, sin, rows]: readonly [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D?]) =>
        half.forward(input, { ...step, cos, sin, plan }, rows ? { rows, dense: outputRows!.dense } : null, options);
    const quiet = step.plan && { ...step.plan, listener: null };
    const constants = outputRows ? ([step.cos, step.sin, outputRows.rows] as const) : ([step.cos, step.sin] as const);
    return checkpoint(run(step.plan), x, constants, half.variables, run(quiet, { withOutput: false }));
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
