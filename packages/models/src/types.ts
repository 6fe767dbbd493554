/** @file What goes into a model and how it is called. */

import type { SelectionListener, TrainingSparsity } from '@spft/estimator';
import type { PackedLayout } from '@spft/sparse-ops';
import type { PackedArraysOf } from '@spft/sparse-ops/internals';
import type * as tf from '@tensorflow/tfjs';

/** Label of a token that has no loss, as in PyTorch and transformers. */
export const IGNORE_INDEX = -100;

/** A collated batch: real tokens only, on the host. `labels[t]` is the label *of* token t; the model shifts. */
export interface PackedBatch {
  /** [T] token ids in packed order. */
  readonly inputIds: Int32Array;
  /** [T] labels in packed order; `IGNORE_INDEX` where there is no loss. */
  readonly labels: Int32Array;
  readonly layout: PackedLayout;
}

/** What a model reads of a batch's ids and labels, row by row: worked out on the host, before anything is computed. */
export interface BatchRows {
  /** [T] token id of each row; -1 for a row of padding, which is zeros. */
  readonly ids: Int32Array;
  /** [R] rows that have a loss, ascending; -1 for padding. */
  readonly lossRows: Int32Array;
  /** [R] the token that each is to predict; -1 for padding. */
  readonly lossLabels: Int32Array;
  /** How many of them, from the first on, are dense. */
  readonly denseLossRows: number;
  /** As many for each sequence: rows that channels are chosen by, -1 for none. Where the sparsity plan's estimator has some. */
  readonly scoreRows?: Int32Array;
}

/** A batch as its layout and its rows, all that a loss needs. */
export interface PreparedBatch {
  readonly layout: PackedLayout;
  readonly rows: BatchRows;
}

/** What varies from call to call of a training forward. */
export interface ForwardOptions {
  readonly training: boolean;
  /** Seeds dropout and random estimators: the same seed gives the same result on the same backend. */
  readonly seed: number;
  /** Recompute the attention and MLP of each decoder layer in the backward pass instead of keeping their activations. */
  readonly gradientCheckpointing?: boolean;
  /** Share of each label that is spread over the whole vocabulary (transformers' `LabelSmoother`). Default 0. */
  readonly labelSmoothing?: number;
  /** NEFTune: uniform noise on the embeddings of up to alpha / √(length · hidden size); 0 for none, the default. */
  readonly neftuneNoiseAlpha?: number;
}

/** What the trainer needs of a model; `PeftModel` and `SpftModel` around `LlamaForCausalLM` implement it. */
export interface TrainableModel {
  /** Trainable variables by their PEFT name, in a fixed order. */
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /**
   * Sum of the cross-entropy over labelled tokens, divided by `normalizer`. Differentiable in `variables`.
   * @param normalizer labelled tokens of the whole optimizer step, so that accumulated micro-batches equal one large batch.
   * @throws RangeError when the batch has no labelled token.
   */
  loss(batch: PackedBatch, options: ForwardOptions & { readonly normalizer: number }): tf.Scalar;
  /** Token ids and labels are below it; a model that does not say it is not asked whether they are. */
  readonly vocabSize?: number | undefined;
  /** What a sparse model wants of a trainer; null or absent where it is dense. */
  readonly sparsity?: TrainingSparsity | null;
  /**
   * What makes this model this one beside its variables, by names and short texts: base, adapter, sparsity. A checkpoint is continued only by a
   * model that says the same.
   */
  identity?(): Promise<Readonly<Record<string, string>>>;
  /** What a trainer needs to record steps of this model; models without it are run call by call. */
  readonly recordable?: RecordableLoss | null;
}

/** What varies from call to call of a loss that is recorded. */
export interface RecordedLossOptions extends ForwardOptions {
  /** Labelled tokens of the whole optimizer step. */
  readonly normalizer: tf.Scalar;
  /** `maskSeeds` of the seed. */
  readonly maskSeeds: Int32Array;
  /** Told of every selection in place of `listener()`, which would hear of a recorded step only while it is recorded. Default: nobody is. */
  readonly onSelection?: SelectionListener;
}

/** What a loss depends on beside batch, options and variables, for recordings of it (sparse-ops' `StepRecorder`). */
export interface RecordableLoss {
  /**
   * A name for all that decides what `loss` does and is no tensor: what is attached, whether sparsity is on.
   * @param padded whether batches will have rows of padding.
   * @returns null where a step like the next cannot be recorded at all.
   */
  key(padded: boolean): string | null;
  /** Numbers of the frozen model, by each of which a row of a batch is multiplied; absent where it is not known. */
  parameterCount?(): number;
  /** The batch's rows. @throws RangeError for ids without an embedding, or where nothing has a label. */
  rows(batch: PackedBatch): BatchRows;
  /** Seeds of adapters' masks, of a micro-batch's seed; always as many. */
  maskSeeds(seed: number): Int32Array;
  /** The model's loss; what comes from the host is read of the batch's arrays, whole. */
  loss(batch: PreparedBatch, options: RecordedLossOptions): tf.Scalar;
  /** Who is to hear what a step like the next selects; null where nobody is, and in a dense step. */
  listener?(): SelectionListener | null;
}

/** A model whose decoder layers run by themselves too: for who measures what one of them takes. */
export interface RunnableLayers {
  readonly layerCount: number;
  /** The model's step, of which the layers are parts. */
  readonly recordable: RecordableLoss;
  /** Rows [ids.length, H] of the embedding, owned by the caller. */
  embed(ids: Int32Array): tf.Tensor2D;
  /**
   * One decoder layer as a step computes it, with the sparsity and the adapters that are attached; differentiable in `x` and their variables.
   * @param x [T, H] in row order.
   * @returns [T, H], owned by the caller.
   */
  layerOutput(
    layer: number,
    x: tf.Tensor2D,
    batch: PreparedBatch,
    options: ForwardOptions & { readonly maskSeeds?: Int32Array },
  ): tf.Tensor2D;
}

/** Where a model's weights come from: a safetensors file, shards, or arrays in memory. `SafetensorsFile` is one. */
export interface WeightSource {
  /** Names of all tensors, as in the checkpoint. */
  readonly names: Iterable<string>;
  entry(name: string): { readonly shape: readonly number[] /** As safetensors calls it. */; readonly dtype?: string };
  /** Values as float32, whatever the stored dtype. */
  float32(name: string): Promise<Float32Array>;
  /** Values as they are stored, little-endian, for backends that take them so; bytes [begin, end), all by default. */
  bytes?(name: string, begin?: number, end?: number): Promise<Uint8Array>;
  /** The codes of a matrix that the source has in 4 bits; null for all others. Its entry's shape is the matrix's, its dtype `NF4` or `FP4`. */
  packed?(name: string): Promise<PackedArraysOf> | null;
  /** The tensor itself, where the source can make it on the device; then nothing else of it is asked for. */
  tensor?(name: string): Promise<tf.Tensor>;
}
