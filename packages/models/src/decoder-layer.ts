/** @file One decoder layer: norm, attention, residual, norm, MLP, residual. */
import { rmsNorm } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import type { AttentionBlock } from './attention-block.js';
import type { LinearLayer } from './linear-layer.js';
import type { MlpBlock } from './mlp-block.js';
import type { Step } from './step.js';

export class DecoderLayer {
  /** @param inputNorm [H], @param postAttentionNorm [H]: owned here, as are the blocks' weights. */
  constructor(
    readonly inputNorm: tf.Tensor1D,
    readonly attention: AttentionBlock,
    readonly postAttentionNorm: tf.Tensor1D,
    readonly mlp: MlpBlock,
    readonly eps: number,
  ) {}

  /** @param x [T, H] in row order. @returns [T, H], owned by the caller. */
  forward(x: tf.Tensor2D, step: Step): tf.Tensor2D {
    const attended = tf.add(x, this.attention.forward(rmsNorm(x, this.inputNorm, this.eps), step)) as tf.Tensor2D;
    return tf.add(attended, this.mlp.forward(rmsNorm(attended, this.postAttentionNorm, this.eps), step));
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
