/**
 * @file Shapes shared by every op and by the packages above.
 *
 * Letters used throughout the project: B sequences in a batch, T real tokens of a batch (no padding), D the first of them that are
 * computed densely, H hidden size, I intermediate size, V vocabulary, N query heads, K key/value heads, G = N / K, d head size,
 * r adapter or predictor rank.
 */
import type * as tf from '@tensorflow/tfjs';

/** Channels of one weight that are computed; the others are skipped. Whoever made the selection owns `indices` and disposes it. */
export interface ChannelSelection {
  /** int32 [kept], ascending, without repeats. */
  readonly indices: tf.Tensor1D;
  readonly kept: number;
  readonly total: number;
}

/**
 * How the tokens of a batch lie in the rows of an activation matrix [T, …].
 *
 * *Packed* order is sequence after sequence without padding. *Row* order puts the dense tokens first, so that every token-wise op works on
 * two contiguous slices; only attention maps back to packed order (DESIGN section 3). Host arrays: nothing here is read from a device.
 */
export interface PackedLayout {
  /** T. */
  readonly tokens: number;
  /** D: rows [0, D) are dense, rows [D, T) sparse. D = T when nothing is sparse, 0 when everything is. */
  readonly denseTokens: number;
  /** [B + 1] offsets into packed order; `sequenceStarts[B] === tokens`. */
  readonly sequenceStarts: Int32Array;
  /** [T] packed index of each row. */
  readonly tokenOfRow: Int32Array;
  /** [T] row of each packed token. */
  readonly rowOfToken: Int32Array;
  /** [T] position in its sequence of each row, for RoPE. */
  readonly positionOfRow: Int32Array;
  /** At least the tokens of the longest sequence, where a step is laid out for more than one batch (`padLayout`); default: exactly those. */
  readonly longest?: number;
  /** Rows that channels are chosen by, −1 for none, where a recorded step has them as an input; default: whoever chooses finds them. */
  readonly scoreRows?: Int32Array;
  /**
   * Sparse rows by sequence, counted from the first sparse one: those of sequence b are rows[starts[b]] up to, and without, rows[starts[b + 1]]. Where a
   * recorded step has them as an input; default: whoever averages them finds them.
   */
  readonly context?: { readonly starts: Int32Array; readonly rows: Int32Array };
}

/** Where an input of a recorded step has a seed: the number that is there differs from step to step. */
export interface SeedPlace {
  readonly values: Int32Array;
  readonly index: number;
}

/** The attention heads of one layer. */
export interface HeadLayout {
  /** N. */
  readonly heads: number;
  /** K; N is a multiple of it. */
  readonly kvHeads: number;
  /** d. */
  readonly headDim: number;
}
