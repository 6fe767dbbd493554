/** @file Cosines and sines of a model's positions, made as far as the longest sequence seen. */
import { type RopeOptions, type RopeTables, ropeRows, ropeTables } from '@spft/sparse-ops';
import type * as tf from '@tensorflow/tfjs';

/** A table for all of Llama 3.1's 131,072 positions takes 64 MB and most runs use 2,000 of them; this one doubles as needed. */
export class RopeCache {
  #tables: RopeTables | null = null;

  constructor(private readonly options: Omit<RopeOptions, 'positions'>) {}

  /** cos and sin, each [positions.length, d/2], owned by the caller. */
  rows(positions: Int32Array): { cos: tf.Tensor2D; sin: tf.Tensor2D } {
    const needed = positions.reduce((most, p) => Math.max(most, p + 1), 1);
    if (this.#tables === null || this.#tables.positions < needed) {
      this.#tables = ropeTables({ ...this.options, positions: 2 ** Math.ceil(Math.log2(Math.max(needed, 128))) });
    }
    return ropeRows(this.#tables, positions);
  }
}
