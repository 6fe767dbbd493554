/** @file A decoder layer in a pass: in a scope of its own, or with gradient checkpointing as two halves that the backward pass makes again. */
import type { SparsityPlan } from '@spft/estimator';
import type { OnTopOptions } from '@spft/sparse-ops';
import { isRecording } from '@spft/sparse-ops/internals';
import * as tf from '@tensorflow/tfjs';
import { checkpoint } from './checkpoint.js';
import type { DecoderLayer, LayerHalf } from './decoder-layer.js';
import type { OutputRows, Step } from './step.js';

/**
 * @param x [T, H] in row order; not disposed.
 * @param outputRows the rows that are wanted; null for all.
 * @returns [T, H], or a row for each of those wanted, owned by the caller.
 */
export function runLayer(
  layer: DecoderLayer,
  x: tf.Tensor2D,
  step: Step,
  outputRows: OutputRows | null,
  checkpointing = false,
): tf.Tensor2D {
  // The scope ends what neither the result nor a gradient needs, layer by layer and not at the end of the forward.
  if (!checkpointing || !isRecording()) return tf.tidy(() => layer.forward(x, step, outputRows));
  return layer.halves(step, outputRows).reduce((x, half) => checkpointed(half, x, step), x);
}

/** With an input for each half of a layer, the last product of either is not made again: a third of a forward, for [T, H] more of each layer. */
function checkpointed(half: LayerHalf, x: tf.Tensor2D, step: Step): tf.Tensor2D {
  const { outputRows } = half;
  const run =
    (plan: SparsityPlan | null, options?: OnTopOptions) =>
    (input: tf.Tensor2D, [cos, sin, rows]: readonly [tf.Tensor2D, tf.Tensor2D, tf.Tensor1D?]) =>
      half.forward(input, { ...step, cos, sin, plan }, rows ? { rows, dense: outputRows!.dense } : null, options);
  const quiet = step.plan && { ...step.plan, listener: null };
  const constants = outputRows ? ([step.cos, step.sin, outputRows.rows] as const) : ([step.cos, step.sin] as const);
  return checkpoint(run(step.plan), x, constants, half.variables, run(quiet, { withOutput: false }));
}
