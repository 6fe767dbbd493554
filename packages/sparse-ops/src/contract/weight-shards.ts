/**
 * @file Frozen matrices of which each of several processes ("ranks") holds a part. Who holds them gives out tensors like any other, whose values are brought
 * to their memory, layer by layer, ahead of their use: ops, kernels and models need not know. `cuda` has it (`CudaBackend.shardWeights`), and
 * `@spft/distributed` for backends in the host's memory.
 */
import type * as tf from '@tensorflow/tfjs';
import type { StoredType } from './layers.js';

/** All but `range` is done by all ranks together, in the same order. */
export interface WeightShards {
  /** From 0. */
  readonly rank: number;
  readonly size: number;
  /** The bytes [from, to) of a file's tensor of so many that this rank reads. */
  range(bytes: number): readonly [number, number];
  /**
   * The whole tensor of the bytes that every rank read.
   * @param bytes this rank's. @returns owned by the caller.
   */
  gather(bytes: Uint8Array, stored: StoredType, shape: readonly number[]): tf.Tensor;
  /**
   * Takes over the matrices of a layer, in whatever form they are stored, and keeps this rank's part.
   * @returns tensors of the same values, owned by the caller.
   */
  hold(weights: readonly tf.Tensor[]): tf.Tensor[];
  /** Ends what is under way and forgets what is whole for the time being: what is used next is brought anew, on all ranks alike. */
  settle(): void;
}

/** What a backend has that can hold shards between the ranks that it is connected with. */
export interface ShardingBackend {
  shardWeights(options?: { readonly buffers?: number }): WeightShards;
}
