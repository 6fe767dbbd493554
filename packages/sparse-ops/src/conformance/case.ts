/** @file One case of the conformance suite: an op on given tensors, and what plain loops say that it gives. */
import * as tf from '@tensorflow/tfjs';
import type { KernelName } from '../contract/kernels.js';

/** What an input of a case is made of. */
export interface CaseInput {
  readonly shape: readonly number[];
  /**
   * `float`: an activation or a frozen weight, which a backend may hold less precisely; `trained`: float32 whatever the backend does, as what is
   * trained is; `int32`; `u8`: bytes, which tfjs calls `bool`.
   */
  readonly kind: 'float' | 'trained' | 'int32' | 'u8';
  /** Random ones where there are none. */
  readonly values?: readonly number[];
}

export type Tensors = Readonly<Record<string, tf.Tensor>>;
export type Numbers = Readonly<Record<string, Float32Array>>;

export interface ConformanceCase {
  /** Of the op, and what is particular here. */
  readonly name: string;
  /** Kernels that it is about. It is run where the backend has one of them. */
  readonly kernels: readonly KernelName[];
  readonly inputs: Readonly<Record<string, CaseInput>>;
  /** Runs the op. The outputs are new tensors, the inputs stay. */
  run(t: Tensors): readonly tf.Tensor[];
  /** The outputs by plain loops. */
  expected(v: Numbers): readonly ArrayLike<number>[];
  /** Gradients by plain loops, by the names of the inputs that get one. @param dys of the outputs. */
  gradients?(v: Numbers, dys: readonly Float32Array[]): Readonly<Record<string, ArrayLike<number>>>;
}

export const float = (...shape: number[]): CaseInput => ({ shape, kind: 'float' });
export const trained = (...shape: number[]): CaseInput => ({ shape, kind: 'trained' });
export const int32 = (values: readonly number[]): CaseInput => ({ shape: [values.length], kind: 'int32', values });
export const bytes = (values: ArrayLike<number>): CaseInput => ({
  shape: [values.length],
  kind: 'u8',
  values: Array.from(values),
});
export const given = (shape: readonly number[], values: readonly number[]): CaseInput => ({
  shape,
  kind: 'trained',
  values,
});

/** Every third channel and the last: neighbours and gaps, never all of several. */
export const someOf = (total: number): number[] =>
  Array.from({ length: total }, (_, n) => n).filter((n) => n % 3 === 1 || n === total - 1);

export const matrix = (t: tf.Tensor | undefined): tf.Tensor2D => t as tf.Tensor2D;
export const vector = (t: tf.Tensor | undefined): tf.Tensor1D => t as tf.Tensor1D;
/** Of an input that a case may lack. */
export const vectorOrNull = (t: tf.Tensor | undefined): tf.Tensor1D | null => (t as tf.Tensor1D | undefined) ?? null;

/** The channels that a case selects, by the tensor of their indices. */
export const selection = (indices: tf.Tensor | undefined, total: number) => ({
  indices: indices as tf.Tensor1D,
  kept: indices!.size,
  total,
});

/** A number tensor that only this case refers to, as a variable's is. */
export const variableOf = (t: tf.Tensor): tf.Variable =>
  tf.tidy(() => tf.variable(tf.tensor(t.dataSync(), t.shape), true));
