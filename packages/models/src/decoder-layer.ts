/** @file One decoder layer: norm, attention on top of the residual, norm, MLP on top of that. */
import { gatherRows, rmsNormResidual } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import type { AttentionBlock } from './attention-block.js';
import type { LinearLayer } from './linear-layer.js';
import type { MlpBlock } from './mlp-block.js';
import { blockSparsity, type Step } from './step.js';

export class DecoderLayer {
  /** @param inputNorm [H], @param postAttentionNorm [H]: owned here, as are the blocks' weights. */
  constructor(
    readonly inputNorm: tf.Tensor1D,
    readonly attention: AttentionBlock,
    readonly postAttentionNorm: tf.Tensor1D,
    readonly mlp: MlpBlock,
    readonly eps: number,
  ) {}

  /**
   * @param x [T, H] in row order.
   * @param rows of the result that are wanted; all where null.
   * @returns [T, H], or a row for each of `rows`, owned by the caller.
   */
  forward(x: tf.Tensor2D, step: Step, rows: tf.Tensor1D | null = null): tf.Tensor2D {
    const { attention, mlp, eps } = this;
    // What follows attention is row by row: rows that nobody wants end there, unless sparsity tells rows apart by where they lie.
    const early =
      rows !== null && !(['selfAttn', 'mlp'] as const).some((m) => blockSparsity(step, attention.layer, m) > 0);
    const [normed, residual] = rmsNormResidual(x, this.inputNorm, eps);
    const attended = attention.forward(normed, residual, step, early ? rows : null);
    const [normedAgain, residualAgain] = rmsNormResidual(attended, this.postAttentionNorm, eps);
    const y = mlp.forward(normedAgain, residualAgain, step);
    return rows === null || early ? y : gatherRows(y, rows);
  }

  /** In checkpoint order. */
  get linears(): readonly LinearLayer[] {
    const { q, k, v, o } = this.attention;
    const { gate, up, down } = this.mlp;
    return [q, k, v, o, gate, up, down];
  }

  /** Trainable variables of this layer's adapters. */
  get variables(): tf.Variable[] {
    return this.linears.flatMap((layer) => (layer.adapter ? [...layer.adapter.variables.values()] : []));
  }

  dispose(): void {
    this.inputNorm.dispose();
    this.postAttentionNorm.dispose();
    for (const layer of this.linears) layer.dispose();
  }
}
