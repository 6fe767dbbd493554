/**
 * @file The interface by which an adapter variant plugs in: LoRA and DoRA implement it here, QLoRA and others can from outside.
 */

import type { ChannelSelection } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';

/** What an adapter may know of the frozen linear layer that it wraps. */
export interface FrozenLinear {
  /** Full module name as PEFT has it, e.g. `model.layers.0.self_attn.q_proj`. */
  readonly name: string;
  readonly inFeatures: number;
  readonly outFeatures: number;
  /** [out, in], owned by the model. */
  readonly weight: tf.Tensor2D;
  /** [out], owned by the model. */
  readonly bias: tf.Tensor1D | null;
}

/** What varies from call to call. */
export interface AdapterCall {
  readonly training: boolean;
  /** Seed of this layer's dropout in this micro-batch: the same seed gives the same mask. */
  readonly seed: number;
}

/** An adapter on one linear layer. It owns its variables. */
export interface LinearAdapter {
  readonly linear: FrozenLinear;
  /** Trainable variables by PEFT suffix: `lora_A.weight` [r, in], `lora_B.weight` [out, r], `lora_magnitude_vector` [out]. */
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /**
   * @param x [T, in] input of the layer.
   * @param base [T, out] what the frozen layer gave for it, dropped channels zero. Not disposed here.
   * @returns [T, out], owned by the caller.
   */
  forward(x: tf.Tensor2D, base: tf.Tensor2D, call: AdapterCall): tf.Tensor2D;
  /** Weight [out, in] of a plain linear layer that computes the same; owned by the caller. */
  mergedWeight(): tf.Tensor2D;
  dispose(): void;
}

/** A variant of adapter: how it is made from a config. `getPeftModel` finds it by `peftType` and `matches`. */
export interface AdapterMethod<Config = unknown> {
  readonly name: string;
  create(linear: FrozenLinear, config: Config, seed: number): LinearAdapter;
}

/** What a model offers so that adapters can be attached to it; `LlamaForCausalLM` implements it. */
export interface AdapterHost {
  /** Every linear layer that can be adapted, by full name, in model order. */
  readonly linears: ReadonlyMap<string, FrozenLinear>;
  /** Attaches an adapter to a layer, or removes it with null; the host does not dispose the old one. */
  setAdapter(linearName: string, adapter: LinearAdapter | null): void;
  /** Replaces the frozen weight of a layer (merging); takes ownership of `weight` and disposes the old one. */
  replaceWeight(linearName: string, weight: tf.Tensor2D): void;
}

export type { ChannelSelection };
