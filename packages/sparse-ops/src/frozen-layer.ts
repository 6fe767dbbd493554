/** @file What the ops that span several products know of a linear layer. */
import type * as tf from '@tensorflow/tfjs';
import { checkLora, loraLinear } from './lora-linear.js';
import { checkMatrix, checkSelection } from './selection.js';
import type { ChannelSelection } from './types.js';

/** A low-rank branch, + s·(x·Aᵀ)·Bᵀ. Its tensors get gradients. */
export interface LoraBranch {
  /** [r, in]. */
  readonly a: tf.Tensor2D;
  /** [out, r]. */
  readonly b: tf.Tensor2D;
  readonly scaling: number;
}

/** A frozen linear layer and what is done with it in one call. */
export interface FrozenLayer {
  /** [out, in]. */
  readonly weight: tf.Tensor2D;
  /** [out] or null. */
  readonly bias: tf.Tensor1D | null;
  /** The channels that sparse rows compute, of the layer's outputs or inputs as the op says; null for all. */
  readonly keep: ChannelSelection | null;
  /** Dense on all rows; null without an adapter. */
  readonly lora: LoraBranch | null;
}

/** @throws RangeError unless x [T, in] fits the layer, `denseRows` is one of its rows, and what is selected are its channels. */
export function checkLayer(
  op: string,
  x: tf.Tensor2D,
  { weight, bias, keep, lora }: FrozenLayer,
  denseRows: number,
  selected: 'outputs' | 'inputs',
): void {
  checkMatrix(op, 'x', x);
  const [out, inputs] = weight.shape;
  if (x.shape[1] !== inputs || (bias !== null && (bias.rank !== 1 || bias.size !== out))) {
    throw new RangeError(
      `${op}: x [${x.shape}] must have as many columns as weight [${weight.shape}], and bias [${bias?.shape ?? 'none'}] one number for ` +
        'each of its rows; pass weight as [out, in]',
    );
  }
  if (!Number.isInteger(denseRows) || denseRows < 0 || denseRows > x.shape[0]) {
    throw new RangeError(
      `${op}: denseRows is ${denseRows}, must be a whole number from 0 to ${x.shape[0]}, the rows of x`,
    );
  }
  if (keep) checkSelection(op, keep, `weight [${weight.shape}]`, selected === 'outputs' ? out : inputs);
  if (lora) checkLora(op, x, { rank: 2, shape: [x.shape[0], out] } as tf.Tensor2D, lora.a, lora.b);
}

/** `base` with the layer's branch, by the op for that. */
export const withBranch = (x: tf.Tensor2D, base: tf.Tensor2D, lora: LoraBranch | null): tf.Tensor2D =>
  lora ? loraLinear(x, base, lora.a, lora.b, lora.scaling) : base;
