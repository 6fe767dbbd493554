/** @file What a row of the ops' benchmark is. */
import type { KernelName } from '@spft/sparse-ops/backend';
import type * as tf from '@tensorflow/tfjs';

/** The dimensions of a step; letters as in sparse-ops. */
export interface OpShape {
  readonly sequences: number;
  readonly length: number;
  /** Share of each sequence that is context. */
  readonly context: number;
  readonly H: number;
  readonly I: number;
  readonly N: number;
  readonly K: number;
  readonly d: number;
  readonly V: number;
  /** Rank of adapters, and of predictors. */
  readonly r: number;
  readonly p: number;
  /** Intermediate channels that are kept. */
  readonly kept: number;
}

type Values = ArrayLike<number>;

/** One op with inputs of its own; made within a tidy, which ends its tensors. */
export interface OpRun {
  /** What `run` gets, and what it is differentiable in. */
  readonly inputs: readonly tf.Tensor[];
  readonly run: (...inputs: tf.Tensor[]) => tf.Tensor;
  readonly reference: () => Values;
  /** Of each input, where there are loops for it; others are compared with the composition's. */
  readonly gradients?: (dy: Float32Array) => readonly Values[];
  /** False for choices, norms and updates, which have no backward. */
  readonly differentiable?: false;
}

export interface OpCase {
  /** Of the op's file. */
  readonly name: string;
  /** Kernels that a backend may have for it. */
  readonly kernels: readonly KernelName[];
  readonly make: () => OpRun;
}
