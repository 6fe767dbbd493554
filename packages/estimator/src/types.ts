/**
 * @file The interfaces of sparsity estimation: who chooses channels (`SparsityEstimator`), what it sees (the contexts), and what a model
 * offers so that a plan can be attached to it (`SparsityHost`).
 */

import type { ChannelSelection, HeadLayout, PackedLayout } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';

/** `corrected`: the mathematics of what was computed. `reference`: the three defects of the original reproduced (PARITY.md). */
export type Compat = 'corrected' | 'reference';

/**
 * What the backward pass does with a frozen product of which a sparse row computed a part. `exact`: the gradient of what was computed. `cut`: none,
 * as upstream has it where a layer carries an adapter, so gradients flow through adapters and the residual alone. `straight_through`: that of the
 * whole product, as if nothing had been dropped.
 */
export type SparseGradient = 'exact' | 'cut' | 'straight_through';

/** Common to both contexts. All tensors belong to the caller; [T, …] rows are in the layout's row order. */
export interface LayerContext {
  readonly layer: number;
  /** Fraction of channels to drop, 0 < sparsity < 1. */
  readonly sparsity: number;
  /** [T, H] input of the block after its norm: all tokens, context and output alike. */
  readonly input: tf.Tensor2D;
  readonly layout: PackedLayout;
  /** Seed for random choices, different for each layer and step. */
  readonly seed: number;
}

export interface MlpContext extends LayerContext {
  /** I. */
  readonly channels: number;
  /** [T, I] silu(gate) · up, dense; only when the estimator needs activations. */
  readonly activations?: tf.Tensor2D;
  /** [H, I] weight of down_proj; only when the estimator needs activations. */
  readonly downWeight?: tf.Tensor2D;
}

export interface AttentionContext extends LayerContext {
  readonly heads: HeadLayout;
  /** [T, N·d], [T, K·d], [T, K·d] dense projections before RoPE; only when the estimator needs activations. */
  readonly q?: tf.Tensor2D;
  readonly k?: tf.Tensor2D;
  readonly v?: tf.Tensor2D;
}

/** Kept output channels of q, k and v and kept input channels of o; null means dense. Owned by the caller. */
export interface AttentionSelection {
  readonly q: ChannelSelection | null;
  readonly k: ChannelSelection | null;
  readonly v: ChannelSelection | null;
  readonly o: ChannelSelection | null;
}

/** Chooses the channels of a layer for one batch. Stateless between calls; owns its predictors. */
export interface SparsityEstimator {
  /** The config's `mode` that made it, e.g. `svd_8`. */
  readonly mode: string;
  /** `input`: chooses before anything is computed. `activations`: needs the dense activations (oracles). */
  readonly needs: 'input' | 'activations';
  /** `gather`: only kept channels are computed. `mask`: everything is computed, then dropped channels are zeroed (oracles). */
  readonly applies: 'gather' | 'mask';
  /**
   * Whether rows of zeros in `input`, in sequences of their own, change no choice: such rows fill a step that is recorded for batches of different
   * lengths. Default: not known, and steps in which it chooses are not recorded where they would be filled.
   */
  readonly ignoresZeroRows?: boolean;
  /**
   * Rows of a batch that it chooses by, as many of each sequence: −1 where one has fewer. A recorded step gets them as an input, in `layout.scoreRows`.
   * Default: it reads of a layout what is the same in all batches of its shape.
   */
  scoredRows?(layout: PackedLayout): Int32Array;
  /** Whether choices come from `shareScores` of the request, and so are the same on all ranks. Default: they do not. */
  readonly sharesScores?: boolean;
  /** Whether a choice depends on earlier steps: then steps in which it chooses are not recorded. Default: it does not. */
  readonly remembers?: boolean;
  /** The selection, owned by the caller; null to leave the layer dense. */
  selectMlp(context: MlpContext): ChannelSelection | null;
  /** Selections, owned by the caller. */
  selectAttention(context: AttentionContext): AttentionSelection;
  dispose(): void;
}

/**
 * Told of every selection made, for logs and the report's map; must not dispose what it is shown. Where a trainer records its steps it hears of each once the
 * step was handed to the device: then reading indices waits for all of it.
 */
export type SelectionListener = (event: {
  readonly layer: number;
  readonly module: 'mlp' | 'self_attn';
  readonly part: 'mlp' | 'q' | 'k' | 'v' | 'o';
  readonly selection: ChannelSelection;
}) => void;

/** What a sparse row's dropped MLP channels are taken to have given: (x·downᵀ)·upᵀ + bias. */
export interface MlpCompensation {
  /** [r, H], frozen. */
  readonly down: tf.Tensor2D;
  /** [H, r], frozen. */
  readonly up: tf.Tensor2D;
  /** [H], frozen. */
  readonly bias: tf.Tensor1D;
}

/** How sparse each layer of a model is to be, and by whose choice. Attached to a model with `setSparsity`. */
export interface SparsityPlan {
  readonly estimator: SparsityEstimator;
  /** Sparsity (fraction dropped) by layer index; a missing layer is dense. */
  readonly layers: ReadonlyMap<number, { readonly mlp: number; readonly selfAttn: number }>;
  readonly compat: Compat;
  /** Default `exact`; `compat: 'reference'` cuts whatever this says. */
  readonly gradient?: SparseGradient;
  /** By layer: added to the MLP's sparse rows, where channels are gathered. Owned by whoever made the plan. */
  readonly compensation?: ReadonlyMap<number, MlpCompensation>;
  /** Switched by the schedule (`start_step`, `end_step`); a disabled plan computes densely. */
  enabled: boolean;
  listener: SelectionListener | null;
  /** What a trainer is to do so that the plan has its effect; a plan without it is one for whoever made it to steer. */
  training?: TrainingSparsity;
}

/**
 * What sparsity has to say of a training step. A trainable model that has it as `sparsity` (`SpftModel`, and the model that carries its plan) is
 * trained as its config says, without a word to the trainer.
 */
export interface TrainingSparsity {
  /**
   * Which tokens of a batch are computed with all channels.
   * @param labels [T] in packed order.
   * @param lengths tokens of each sequence.
   * @param seed of random policies.
   * @returns [T] non-zero where dense.
   */
  denseTokens(labels: Int32Array, lengths: readonly number[], seed: number): ArrayLike<number>;
  /** Switches sparsity on or off for the step to come; `step` counts finished steps. @returns whether it is on. */
  update(position: { readonly step: number; readonly maxSteps: number }): boolean;
  /** What chooses channels and how, as short texts by names that begin with `sparsity.`: a run is the same one only where all are. */
  sparsityIdentity?(): Promise<Readonly<Record<string, string>>>;
}

/** What a model offers so that sparsity can be attached to it; `LlamaForCausalLM` implements it. */
export interface SparsityHost {
  readonly layerCount: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly headLayout: HeadLayout;
  /** Frozen weight [out, in] by full name without `.weight`, e.g. `model.layers.0.mlp.gate_proj`; owned by the model. */
  frozenWeight(name: string): tf.Tensor2D;
  /** Attaches a plan, or removes it with null. The host does not own the plan. */
  setSparsity(plan: SparsityPlan | null): void;
}
