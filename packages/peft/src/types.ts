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

/** An adapter on one linear layer. It owns its variables. */
export interface LinearAdapter {
  readonly linear: FrozenLinear;
  /**
   * Variables by the name of the parameter below the layer in PEFT's model: `lora_A.weight` [r, in], `lora_B.weight` [out, r],
   * `lora_magnitude_vector.weight` [out] (which files call `lora_magnitude_vector`).
   */
  readonly variables: ReadonlyMap<string, tf.Variable>;
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
  /** Weight [out, in] of a plain linear layer that computes the same, stored as the frozen one is (`storedLike`); owned by the caller. */
  mergedWeight(): tf.Tensor2D;
  dispose(): void;
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
  /** Parameters of the whole model without adapters; where a host does not say, those of its linear layers are counted. */
  readonly parameterCount?: number;
  /** Attaches an adapter to a layer, or removes it with null; the host does not dispose the old one. */
  setAdapter(linearName: string, adapter: LinearAdapter | null): void;
  /** Replaces the frozen weight of a layer (merging); takes ownership of `weight` and disposes the old one. */
  replaceWeight(linearName: string, weight: tf.Tensor2D): void;
}

export type { ChannelSelection };
