/** @file One decoder layer: norm, attention on top of the residual, norm, MLP on top of that. */
import { rmsNormResidual } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import type { AttentionBlock } from './attention-block.js';
import type { LinearLayer } from './linear-layer.js';
import type { MlpBlock } from './mlp-block.js';
import { blockSparsity, type OutputRows, type Step } from './step.js';

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
   * @param outputRows rows of the result; all where null. What follows attention is row by row, so the others end there, or where the MLP's channels
   * have been chosen, which all tokens have a say in.
   * @returns [T, H], or a row for each of those wanted, owned by the caller.
   */
  forward(x: tf.Tensor2D, step: Step, outputRows: OutputRows | null = null): tf.Tensor2D {
    const { attention, mlp, eps } = this;
    const afterAttention = blockSparsity(step, attention.layer, 'mlp') === 0 ? outputRows : null;
    const [normed, residual] = rmsNormResidual(x, this.inputNorm, eps);
    const attended = attention.forward(normed, residual, step, afterAttention);
    const [normedAgain, residualAgain] = rmsNormResidual(attended, this.postAttentionNorm, eps);
    return mlp.forward(normedAgain, residualAgain, step, afterAttention ? null : outputRows);
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
