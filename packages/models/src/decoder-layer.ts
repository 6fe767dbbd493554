/** @file One decoder layer: norm, attention on top of the residual, norm, MLP on top of that. */
import { type OnTopOptions, rmsNormResidual } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';
import type { AttentionBlock } from './attention-block.js';
import type { LinearLayer } from './linear-layer.js';
import type { MlpBlock } from './mlp-block.js';
import { blockSparsity, type OutputRows, type Step } from './step.js';

/** Norm, then attention or MLP on top of what comes in. */
export interface LayerHalf {
  /** Trainable variables of its adapters. */
  readonly variables: readonly tf.Variable[];
  /** Rows that it gives; all where null. */
  readonly outputRows: OutputRows | null;
  /** @param x [T, H]. @returns [T, H], or a row for each of those wanted, owned by the caller. */
  forward(x: tf.Tensor2D, step: Step, outputRows: OutputRows | null, options?: OnTopOptions): tf.Tensor2D;
}

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
   * @param outputRows rows of the result; all where null.
   * @returns [T, H], or a row for each of those wanted, owned by the caller.
   */
  forward(x: tf.Tensor2D, step: Step, outputRows: OutputRows | null = null): tf.Tensor2D {
    return this.halves(step, outputRows).reduce((x, half) => half.forward(x, step, half.outputRows), x);
  }

  /**
   * The layer as two functions of what comes in, one after the other: gradient checkpointing keeps the input of each and runs it again by itself.
   * What follows attention is row by row, so other rows than `outputRows` end there, or where the MLP's channels have been chosen, which all tokens have
   * a say in.
   */
  halves(step: Step, outputRows: OutputRows | null = null): readonly [LayerHalf, LayerHalf] {
    const { attention, mlp } = this;
    const afterAttention = blockSparsity(step, attention.layer, 'mlp') === 0 ? outputRows : null;
    const half = (block: AttentionBlock | MlpBlock, norm: tf.Tensor1D, outputRows: OutputRows | null): LayerHalf => ({
      outputRows,
      variables: block.linears.flatMap((layer) => (layer.adapter ? [...layer.adapter.variables.values()] : [])),
      forward: (x, step, outputRows, options) => {
        const [normed, residual] = rmsNormResidual(x, norm, this.eps);
        return block.forward(normed, residual, step, outputRows, options);
      },
    });
    return [
      half(attention, this.inputNorm, afterAttention),
      half(mlp, this.postAttentionNorm, afterAttention ? null : outputRows),
    ];
  }

  /** In checkpoint order. */
  get linears(): readonly LinearLayer[] {
    return [...this.attention.linears, ...this.mlp.linears];
  }

  dispose(): void {
    this.inputNorm.dispose();
    this.postAttentionNorm.dispose();
    for (const layer of this.linears) layer.dispose();
  }
}
