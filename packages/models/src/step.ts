/** @file What every layer of one forward pass shares. */
import type { SparseGradient, SparsityPlan } from '@spft/estimator';
import type { AdapterCall } from '@spft/peft';
import type { PackedLayout } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import { deriveSeed } from './seed.js';

/** Owned by the model, which made it; layers dispose none of it. */
export interface Step {
  readonly layout: PackedLayout;
  /** [T, d/2] of each row's position. */
  readonly cos: tf.Tensor2D;
  readonly sin: tf.Tensor2D;
  readonly training: boolean;
  readonly seed: number;
  /** [layers · MASKED] seeds of adapters' masks, an input of a recorded step; null outside of one. */
  readonly maskSeeds: Int32Array | null;
  /** Null where every layer is dense: no plan, or one that is switched off. */
  readonly plan: SparsityPlan | null;
  /** Shown each layer's rotated keys and its values, [T, K·d] in row order, of which it disposes none. */
  readonly onKeysValues?: KeysValuesListener;
}

export type KeysValuesListener = (layer: number, keys: tf.Tensor2D, values: tf.Tensor2D) => void;

/** Rows of the last layer's result that are wanted, ascending: so the dense ones come first here too. */
export interface OutputRows {
  /** int32. */
  readonly rows: tf.Tensor1D;
  /** How many of them are dense. */
  readonly dense: number;
}

/** Fraction of channels that a block drops in this step; 0 where the plan or the batch has nothing sparse. */
export function blockSparsity(step: Step, layer: number, module: 'mlp' | 'selfAttn'): number {
  const nothingSparse = step.layout.denseTokens === step.layout.tokens;
  return nothingSparse ? 0 : (step.plan?.layers.get(layer)?.[module] ?? 0);
}

/** What the backward pass does with the sparse products of a step. */
export function sparseGradient({ plan }: Step): SparseGradient {
  return plan?.compat === 'reference' ? 'cut' : (plan?.gradient ?? 'exact');
}

/** Linear layers of a layer: those that may have an adapter. */
const MASKED = 7;

/** What an adapter is told in a call. @param part 0 to 6, q to down. */
export function adapterCall({ training, seed, maskSeeds }: Step, layer: number, part: number): AdapterCall {
  const maskSeedAt = maskSeeds && { values: maskSeeds, index: layer * MASKED + part };
  return { training, seed: deriveSeed(seed, layer, part), ...(maskSeedAt && { maskSeedAt }) };
}

/** Last part of a seed's path: which random choice of a layer it is for. */
export const SEED_PART = { q: 0, k: 1, v: 2, o: 3, gate: 4, up: 5, down: 6, attention: 7, mlp: 8 } as const;
