/**
 * @file The gated MLP of a decoder layer with LoRA or DoRA on any of its three layers, residual + down(silu(gate(x)) ⊙ up(x)): what `gatedMlp` is of
 * plain layers. Of `projectRows`, `swiglu` and `projectColumns`, so that gate and up read x once, and down adds to the residual.
 */
import * as tf from '@tensorflow/tfjs';
import type { ChannelSelection } from '../contract/types.js';
import type { FrozenLayer, OnTopOptions } from '../project/frozen-layer.js';
import { projectColumns } from '../project/project-columns.js';
import { projectRows } from '../project/project-rows.js';
import { gatedMlp } from './gated-mlp.js';
import { swiglu } from './swiglu.js';

/** A layer of the MLP; what is selected is the same for all three. */
export type MlpLayer = Omit<FrozenLayer, 'keep'>;

export interface MlpLayers {
  /** [I, H]. */
  readonly gate: MlpLayer;
  /** [I, H]. */
  readonly up: MlpLayer;
  /** [H, I]. */
  readonly down: MlpLayer;
}

/**
 * On sparse rows dropped channels carry the adapters' terms alone, as upstream has them: without an adapter on gate or up they are zero, and nothing of
 * them is computed.
 * @param x [T, H].
 * @param residual [T, H].
 * @param keep selection of the I intermediate channels for sparse rows; null for all.
 * @param denseRows D: rows before it compute every channel.
 * @param options `withOutput: false` where the result is not looked at, but a gradient is taken: it may then be anything.
 * @returns [T, H], owned by the caller. Differentiable in x, residual and the branches.
 * @throws RangeError when the shapes do not fit.
 */
export function loraMlp(
  x: tf.Tensor2D,
  residual: tf.Tensor2D,
  { gate, up, down }: MlpLayers,
  keep: ChannelSelection | null,
  denseRows: number,
  options: OnTopOptions = {},
): tf.Tensor2D {
  const plain = gate.lora === null && up.lora === null && down.lora === null;
  if (plain) return gatedMlp(x, residual, { gate, up, down }, keep, denseRows, options);
  return tf.tidy(() => {
    const rows = [gate, up].map((layer) => ({ ...layer, keep }));
    const [g, u] = projectRows(x, rows, denseRows) as [tf.Tensor2D, tf.Tensor2D];
    return projectColumns(swiglu(g, u), residual, { ...down, keep }, denseRows, options);
  });
}
