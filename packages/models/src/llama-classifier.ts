/**
 * @file A Llama that classifies whole sequences (transformers' `LlamaForSequenceClassification`): a linear head without bias on the last token's
 * hidden state. The body is frozen; the head is trained in full, beside whatever adapters the body carries.
 */
import type { SparsityHost, SparsityPlan, TrainingSparsity } from '@spft/estimator';
import type { AdapterHost, EmbeddingAdapter, EmbeddingLayers, LinearAdapter } from '@spft/peft';
import { assertKnownOptions } from '@spft/safetensors/internals';
import { gatherRows, type HeadLayout } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { checkIds, requireLengths } from './labelled-rows.js';
import type { LlamaForCausalLM } from './llama.js';
import { deriveSeed } from './seed.js';
import { type ForwardOptions, IGNORE_INDEX, type PackedBatch, type TrainableModel } from './types.js';

/** Name of the head's weight, as transformers and PEFT have it. */
export const SCORE = 'score.weight';

export interface ClassifierOptions {
  /** How many classes there are; 1 for a regression, whose loss is the squared error. */
  readonly classes: number;
  /** Of the head's initial values. Default 0. */
  readonly seed?: number;
}

/** Bits of a float32 as an int32, by which a batch's labels hold the target of a regression. */
export function floatLabel(value: number): number {
  return new Int32Array(Float32Array.of(value).buffer)[0]!;
}

/**
 * Labels of a batch stand at the last token of each sequence: the class, or `floatLabel` of the target. The body stays the caller's; the
 * head is owned here.
 */
export class LlamaForSequenceClassification implements AdapterHost, SparsityHost, TrainableModel {
  readonly classes: number;
  /** [classes, H], trainable. */
  readonly score: tf.Variable<tf.Rank.R2>;

  /** @throws RangeError when there is no class. */
  constructor(
    readonly body: LlamaForCausalLM,
    options: ClassifierOptions,
  ) {
    assertKnownOptions('LlamaForSequenceClassification', options, { classes: true, seed: true });
    const { classes, seed = 0 } = options;
    if (!(Number.isInteger(classes) && classes > 0)) {
      throw new RangeError(`LlamaForSequenceClassification: classes is ${classes}, must be a positive whole number`);
    }
    this.classes = classes;
    const { hiddenSize } = body;
    const { initializerRange } = body.config;
    const values = normals(classes * hiddenSize, deriveSeed(seed, 0x5c04e)).map((value) => value * initializerRange);
    this.score = tf.tidy(() => tf.variable(tf.tensor2d(values, [classes, hiddenSize]), true));
  }

  get linears() {
    return this.body.linears;
  }

  get layerCount(): number {
    return this.body.layerCount;
  }

  get hiddenSize(): number {
    return this.body.hiddenSize;
  }

  get intermediateSize(): number {
    return this.body.intermediateSize;
  }

  get headLayout(): HeadLayout {
    return this.body.headLayout;
  }

  get parameterCount(): number {
    return this.body.parameterCount;
  }

  get tensors(): ReadonlyMap<string, tf.Tensor> {
    return this.body.tensors;
  }

  get sparsity(): TrainingSparsity | null {
    return this.body.sparsity;
  }

  /** The body's embedding; there is no head of a language model. */
  get embeddings(): EmbeddingLayers {
    const { input } = this.body.embeddings;
    return { ...(input && { input }), tied: false };
  }

  /** What PEFT's `modules_to_save` may name: trained in full and saved with an adapter. */
  get savedModules(): ReadonlyMap<string, tf.Variable> {
    return new Map([[SCORE, this.score]]);
  }

  get variables(): ReadonlyMap<string, tf.Variable> {
    return new Map([...this.body.variables, [SCORE, this.score]]);
  }

  identity(): Promise<Record<string, string>> {
    return this.body.identity();
  }

  frozenWeight(name: string): tf.Tensor2D {
    return this.body.frozenWeight(name);
  }

  setSparsity(plan: SparsityPlan | null): void {
    this.body.setSparsity(plan);
  }

  setAdapter(linearName: string, adapter: LinearAdapter | null): void {
    this.body.setAdapter(linearName, adapter);
  }

  setEmbeddingAdapter(adapter: EmbeddingAdapter | null): void {
    this.body.setEmbeddingAdapter(adapter);
  }

  replaceWeight(linearName: string, weight: tf.Tensor2D): void {
    this.body.replaceWeight(linearName, weight);
  }

  /**
   * Cross-entropy of the labelled sequences, or their squared error, summed and divided by the normalizer.
   * @throws RangeError when a label is no class, or no sequence has one.
   */
  loss(batch: PackedBatch, options: ForwardOptions & { readonly normalizer: number }): tf.Scalar {
    const targets = this.#targets(batch);
    return tf.tidy(() => {
      const logits = gatherRows(
        this.logits(batch, options),
        tf.tensor1d(
          Int32Array.from(targets, (t) => t.sequence),
          'int32',
        ),
      );
      if (this.classes === 1) {
        const wanted = tf.tensor1d(targets.map(({ label }) => label));
        return tf.div(tf.sum(tf.square(tf.sub(tf.reshape(logits, [-1]), wanted))), options.normalizer) as tf.Scalar;
      }
      const chosen = targets.map(({ label }) => Array.from({ length: this.classes }, (_, c) => Number(c === label)));
      const peaks = tf.max(logits, 1, true);
      const shifted = tf.sub(logits, peaks);
      const totals = tf.log(tf.sum(tf.exp(shifted), 1));
      const picked = tf.sum(tf.mul(shifted, tf.tensor2d(chosen)), 1);
      return tf.div(tf.sum(tf.sub(totals, picked)), options.normalizer) as tf.Scalar;
    });
  }

  /** @returns [B, classes], of each sequence's last token; owned by the caller. */
  logits(batch: PackedBatch, options: ForwardOptions = { training: false, seed: 0 }): tf.Tensor2D {
    requireLengths(batch);
    checkIds(batch.inputIds, this.body.vocabSize);
    const { sequenceStarts, rowOfToken } = batch.layout;
    const sequences = sequenceStarts.length - 1;
    const pooled = Array.from({ length: sequences }, (_, b) => rowOfToken[sequenceStarts[b + 1]! - 1]!);
    // The body wants rows ascending, so that the dense ones come first.
    const order = [...pooled.keys()].sort((a, b) => pooled[a]! - pooled[b]!);
    const back = new Int32Array(sequences);
    order.forEach((sequence, place) => {
      back[sequence] = place;
    });
    return tf.tidy(() => {
      const rows = Int32Array.from(order, (sequence) => pooled[sequence]!);
      const hidden = gatherRows(this.body.normedRows(batch, rows, options), tf.tensor1d(back, 'int32'));
      // Small, and differentiable in the head, which the ops' own products with frozen weights are not.
      return tf.matMul(hidden, this.score, false, true) as tf.Tensor2D;
    });
  }

  /** Disposes the head. */
  dispose(): void {
    this.score.dispose();
  }

  #targets({ labels, layout }: PackedBatch): { sequence: number; label: number }[] {
    const { sequenceStarts } = layout;
    const found: { sequence: number; label: number }[] = [];
    for (let sequence = 0; sequence + 1 < sequenceStarts.length; sequence++) {
      const label = labels[sequenceStarts[sequence + 1]! - 1]!;
      if (label === IGNORE_INDEX) continue;
      if (this.classes > 1 && !(label >= 0 && label < this.classes)) {
        throw new RangeError(
          `sequence ${sequence} has the label ${label}; wanted a class from 0 to ${this.classes - 1}`,
        );
      }
      found.push({ sequence, label: this.classes > 1 ? label : new Float32Array(Int32Array.of(label).buffer)[0]! });
    }
    if (found.length > 0) return found;
    throw new RangeError('the batch has no labelled sequence; a label stands at the last token of each');
  }
}

/** Standard normal values (Box and Muller) from a seed. */
function normals(count: number, seed: number): Float32Array {
  let state = seed || 1;
  const uniform = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return ((state >>> 0) + 1) / (2 ** 32 + 1);
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}
