/**
 * @file The interfaces by which adapters, their variants and the models that carry them meet: LoRA and DoRA implement `AdapterMethod` here,
 * others can from outside; a model implements `AdapterHost`.
 */

import type { ChannelSelection, LoraBranch, SeedPlace } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import type { LoraConfig } from './lora-config.js';

/** What an adapter may know of the frozen linear layer that it wraps. */
export interface FrozenLinear {
  /** Full module name as PEFT has it, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** [out, in], owned by the model. After `AdapterHost.replaceWeight` the same object gives the new weight. */
  readonly weight: tf.Tensor2D;
  /** [out], owned by the model. */
  readonly bias: tf.Tensor1D | null;
}

/** What varies from call to call. */
export interface AdapterCall {
  readonly training: boolean;
  /** Seed of this layer's dropout in this micro-batch: the same seed gives the same mask. Adapters mix their layer's name into it. */
  readonly seed: number;
  /** Where an input of a recorded step has what `maskSeed` makes of the seed. */
  readonly maskSeedAt?: SeedPlace;
}

/** What an adapter may know of the frozen embedding that it wraps. */
export interface FrozenEmbedding {
  /** Full module name as PEFT has it, e.g. `model.embed_tokens`. */
  readonly name: string;
  /** Rows. */
  readonly vocabSize: number;
  /** Columns. */
  readonly hiddenSize: number;
  /** [V, H], owned by the model. After `AdapterHost.replaceWeight` the same object gives the new weight. */
  readonly weight: tf.Tensor2D;
}

/** What adapters of every kind of module are. An adapter owns its variables. */
export interface ModuleAdapter {
  /**
   * Variables by the name of the parameter below the module in PEFT's model: `lora_A.weight` [r, in], `lora_B.weight` [out, r],
   * `lora_magnitude_vector.weight` [out] (which files call `lora_magnitude_vector`), of an embedding `lora_embedding_A` [r, V] and
   * `lora_embedding_B` [H, r], of a module that is trained in full `weight`.
   */
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /** Weight of a plain module that computes the same, in the frozen one's shape and stored as it is (`storedLike`); owned by the caller. */
  mergedWeight(): tf.Tensor2D;
  dispose(): void;
}

/** An adapter on one linear layer. */
export interface LinearAdapter extends ModuleAdapter {
  readonly linear: FrozenLinear;
  /**
   * @param x [T, in] input of the layer.
   * @param base [T, out] what the frozen layer gave for it, dropped channels zero. Not disposed here.
   * @returns [T, out], owned by the caller.
   */
  forward(x: tf.Tensor2D, base: tf.Tensor2D, call: AdapterCall): tf.Tensor2D;
  /**
   * The branch that `forward` adds in this call, where it is nothing but base + s·(x·Aᵀ)·Bᵀ, rescaled by a magnitude or not: then the model may
   * hand it to an op that computes the base as well. Null, or no such method, where it is something else.
   */
  branch?(call: AdapterCall): LoraBranch | null;
  /** The seed of its mask, of a call's seed: what varies in a recorded step. None: its steps are recorded with what else it does. */
  maskSeed?(seed: number): number;
  /**
   * The layer's output [T, out] where the adapter takes the whole layer's place, so that a model need not compute a base: `forward` gives the
   * same and does not look at its base. Owned by the caller.
   */
  output?(x: tf.Tensor2D): tf.Tensor2D;
}

/** An adapter on the embedding. */
export interface EmbeddingAdapter extends ModuleAdapter {
  readonly embedding: FrozenEmbedding;
  /**
   * @param ids [T] rows that are wanted, repeats allowed.
   * @param base gives the frozen rows [T, H], to be disposed here (or by a `tf.tidy` around).
   * @returns [T, H], owned by the caller; differentiable in the adapter's variables.
   */
  forward(ids: Int32Array, base: () => tf.Tensor2D): tf.Tensor2D;
}

/** A variant of adapter: how it is made from a config. Made known by `registerAdapterMethod`. */
export interface AdapterMethod {
  /** What `getPeftModel(…, { method })` and the training key `peft` call it. */
  readonly name: string;
  /**
   * Fields of adapter_config.json whose being set asks for this variant, e.g. `['use_dora']`. As in PEFT, the method taken is the one whose
   * fields are exactly those that are set; so a config that asks for what nobody implements fails instead of computing something else.
   */
  readonly fields: readonly string[];
  /**
   * Shapes of the variables that `create` would make, by the same names. A file is compared with them before anything is allocated; without
   * this method, after.
   */
  shapes?(linear: FrozenLinear, config: LoraConfig): ReadonlyMap<string, readonly number[]>;
  /**
   * Makes the adapter with its initial values; it is not attached to anything yet.
   * @param config of this layer: `r` and `loraAlpha` are what rank_pattern and alpha_pattern give it.
   * @param seed different for each layer.
   * @throws AdapterError when it cannot be on this layer.
   */
  create(linear: FrozenLinear, config: LoraConfig, seed: number): LinearAdapter;
  /** The same for an embedding; methods without it are refused there. Shapes are compared as those of `shapes` are. */
  readonly embedding?: {
    shapes(embedding: FrozenEmbedding, config: LoraConfig): ReadonlyMap<string, readonly number[]>;
    create(embedding: FrozenEmbedding, config: LoraConfig, seed: number): EmbeddingAdapter;
  };
}

/** Embedding and head of a language model, as far as they can be adapted or trained in full. */
export interface EmbeddingLayers {
  readonly input?: FrozenEmbedding;
  /** The head, by its name `lm_head`; [V, H]. */
  readonly output?: FrozenLinear;
  /** Whether the head is the embedding. Adapters then are each module's own, as PEFT's are without `ensure_weight_tying`. */
  readonly tied: boolean;
}

/** What a model offers so that adapters can be attached to it; `LlamaForCausalLM` implements it. */
export interface AdapterHost {
  /** Every linear layer that can be adapted, by full name, in model order. */
  readonly linears: ReadonlyMap<string, FrozenLinear>;
  /** Frozen tensors by their names in a checkpoint, owned by the model: adapter files may hold copies of the embedding and the head. */
  readonly tensors?: ReadonlyMap<string, tf.Tensor>;
  /**
   * What `modules_to_save` may name: variables of modules that are trained in full and saved with an adapter, by parameter name, e.g.
   * `score.weight`. Owned by the host.
   */
  readonly savedModules?: ReadonlyMap<string, tf.Variable>;
  /** What may have adapters beside `linears`, or be named in `modules_to_save`; hosts without it have neither there. */
  readonly embeddings?: EmbeddingLayers;
  /** Parameters of the whole model without adapters; where a host does not say, those of its linear layers are counted. */
  readonly parameterCount?: number;
  /** Attaches an adapter to a layer or to the head, or removes it with null; the host does not dispose the old one. */
  setAdapter(linearName: string, adapter: LinearAdapter | null): void;
  /** The same for the embedding; there where `embeddings` has an input. */
  setEmbeddingAdapter?(adapter: EmbeddingAdapter | null): void;
  /**
   * Replaces the frozen weight of a layer, of the head or of the embedding (merging); takes ownership of `weight` and disposes the old one. Where
   * head and embedding were one, the other stays as it is; they are one again when both have the same values' memory again.
   */
  replaceWeight(name: string, weight: tf.Tensor2D): void;
}

export type { ChannelSelection };
