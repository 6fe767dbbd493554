/** @file The layer and its loss by the fused functions: one for q, k and v, one for o, one for the MLP, each with its LoRA and its own backward. */
import {
  type ChannelSelection,
  type FrozenLayer,
  gatherRows,
  linearCrossEntropy,
  loraMlp,
  packedAttention,
  projectColumns,
  projectRows,
  rmsNorm,
  rmsNormResidual,
  rope,
  ropeRows,
} from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { type Batch, EPS, HEADS, type Layer, type Projection } from './layer.js';

/** Channels that the tokens without a label compute; null for all. */
export interface Kept {
  /** Of q's outputs, and of o's inputs. */
  readonly q: ChannelSelection;
  /** Of k's outputs, and of v's. */
  readonly kv: ChannelSelection;
  /** Of the MLP's channels. */
  readonly mlp: ChannelSelection;
}

/** @returns the summed loss of the dense tokens. */
export function fusedLoss(
  { weights, branches, norms, head, tables }: Layer,
  batch: Batch,
  kept: Kept | null,
): tf.Scalar {
  const { x, layout, labels } = batch;
  const D = layout.denseTokens;
  const layer = (name: Projection, keep: ChannelSelection | null = null): FrozenLayer => ({
    ...{ weight: weights[name], bias: null, lora: branches[name], keep },
  });
  const { cos, sin } = ropeRows(tables, layout.positionOfRow);

  const [h, residual] = rmsNormResidual(x, norms[0], EPS);
  const layers = [layer('q', kept?.q), layer('k', kept?.kv), layer('v', kept?.kv)];
  const [q, k, v] = projectRows(h, layers, D) as [tf.Tensor2D, tf.Tensor2D, tf.Tensor2D];
  const turned = [q, k].map((heads) => rope(heads, cos, sin, HEADS.headDim)) as [tf.Tensor2D, tf.Tensor2D];
  const attended = packedAttention(...turned, v, layout, HEADS);
  const after = projectColumns(attended, residual, layer('o', kept?.q), D);

  const [h2, residual2] = rmsNormResidual(after, norms[1], EPS);
  const mlp = { gate: layer('gate'), up: layer('up'), down: layer('down') };
  const out = loraMlp(h2, residual2, mlp, kept?.mlp ?? null, D);

  // Dense rows come first: those are the ones with a label.
  const labelled = gatherRows(out, tf.range(0, D, 1, 'int32'));
  return linearCrossEntropy(rmsNorm(labelled, norms[1], EPS), head, labels);
}
