/**
 * @file Attributes of kernels: what a kernel is told beside its tensors. Declared once, for the ops that say them and for every backend's kernels.
 *
 * Tensors in attributes (frozen weights, selections, branches) are no inputs, so that tfjs takes no gradient of them. To a kernel a tensor is what tfjs
 * calls a TensorInfo, which every `tf.Tensor` is.
 */
import type * as tf from '@tensorflow/tfjs';
import type { HeadLayout, PackedLayout, SeedPlace } from './types.js';

/** The channels of a layer that sparse rows compute. */
export interface KernelSelection {
  /** int32 [kept], ascending. */
  readonly indices: tf.TensorInfo;
  readonly kept: number;
  readonly total: number;
}

/** A low-rank branch, + s·(x·Aᵀ)·Bᵀ. */
export interface KernelBranch {
  /** [r, in]. */
  readonly a: tf.TensorInfo;
  /** [out, r]. */
  readonly b: tf.TensorInfo;
  readonly scaling: number;
  /** [out], DoRA's. */
  readonly magnitude?: tf.TensorInfo | null;
}

/** A frozen weight and its bias. */
export interface KernelWeight {
  /** [out, in]. */
  readonly weight: tf.TensorInfo;
  /** [out] or null. */
  readonly bias: tf.TensorInfo | null;
}

/** A frozen linear layer and what is done with it in one call. */
export interface KernelLayer extends KernelWeight {
  /** Of its outputs or inputs, as the kernel says; null for all. */
  readonly keep: KernelSelection | null;
  readonly lora: KernelBranch | null;
}

/** The weights of a gated MLP. Any of them may have a bias, whatever the others have. */
export interface KernelMlpWeights {
  readonly gate: KernelWeight;
  readonly up: KernelWeight;
  readonly down: KernelWeight;
}

export interface ScalingAttributes {
  /** alpha / r in LoRA. */
  readonly scaling: number;
}

export interface ProjectRowsAttributes {
  /** Each with a selection of its outputs or none. */
  readonly layers: readonly KernelLayer[];
  /** Rows before it compute every channel. */
  readonly denseRows: number;
  /** Whether the first two outputs are the q and k of SpftRopeAttention, which hardly anybody else reads. A kernel may ignore it. */
  readonly turnedNext?: boolean;
}

export interface ProjectRowsGradAttributes extends ProjectRowsAttributes {
  /** Whether the gradient of x is wanted. */
  readonly withInput: boolean;
}

/** Of an op on top of a residual stream. */
interface OnTopAttributes {
  /**
   * false where nobody reads y, as when gradient checkpointing runs a forward again for what its gradient needs: y may be anything of its shape, and what
   * is made for y alone, its last product, need not be. Default true; a kernel that does not look at it is right too.
   */
  readonly withOutput?: boolean;
}

export interface ProjectColumnsAttributes extends OnTopAttributes {
  /** With a selection of its inputs or none. */
  readonly layer: KernelLayer;
  readonly denseRows: number;
}

export interface GatedMlpAttributes extends OnTopAttributes {
  readonly weights: KernelMlpWeights;
  /** Of the intermediate channels; null for all. */
  readonly keep: KernelSelection | null;
  readonly denseRows: number;
}

/** A frozen linear layer of an MLP with a branch or none. */
export interface KernelMlpLayer extends KernelWeight {
  readonly lora: KernelBranch | null;
}

export interface LoraMlpAttributes extends OnTopAttributes {
  readonly layers: { readonly gate: KernelMlpLayer; readonly up: KernelMlpLayer; readonly down: KernelMlpLayer };
  /** Of the intermediate channels; null for all. */
  readonly keep: KernelSelection | null;
  readonly denseRows: number;
}

/** The weights of a decoder layer's attention. */
export interface KernelAttentionWeights {
  readonly q: KernelWeight;
  readonly k: KernelWeight;
  readonly v: KernelWeight;
  readonly o: KernelWeight;
}

export interface DecodeLayerAttributes {
  readonly attention: KernelAttentionWeights;
  readonly mlp: KernelMlpWeights;
  readonly heads: HeadLayout;
  /** Of both norms. */
  readonly eps: number;
}

export interface AttentionAttributes {
  readonly layout: PackedLayout;
  readonly heads: HeadLayout;
}

export interface RopeAttributes {
  readonly headDim: number;
  /** Whether to turn by the opposite angle, as the gradient does. */
  readonly inverse: boolean;
}

export interface DropoutAttributes {
  /** Probability that an element becomes 0; the others are multiplied by 1/(1 − rate). */
  readonly rate: number;
  readonly seed: number;
  /** Where a recorded step has the seed. */
  readonly seedAt?: SeedPlace;
}

export interface LinearCrossEntropyAttributes {
  /** Rows whose logits exist at once, unless the kernel knows better. */
  readonly chunkRows: number;
  readonly withGradient: boolean;
}

export interface SequenceMeansAttributes {
  /** [T]. The same array for every layer of a step. */
  readonly sequenceOfRow: Int32Array;
  /** [B], 1/length; 0 for a sequence without tokens. */
  readonly shares: Float32Array;
  /** The same by the layout's own arrays, which a recorded step has on the device. */
  readonly rowOfToken: Int32Array;
  readonly sequenceStarts: Int32Array;
}

export interface GatedSelectionAttributes extends SequenceMeansAttributes {
  readonly kept: number;
}

/** Of a step of an optimizer over all parameters. */
interface UpdateAttributes {
  /** Parameters. */
  readonly count: number;
  readonly learningRate: number;
  readonly weightDecay: number;
}

export interface AdamwAttributes extends UpdateAttributes {
  /** An input of a recorded step, in which is what differs from step to step: 1 − learningRate · weightDecay, stepSize, rootCorrection. */
  readonly numbers?: Float32Array;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** This step's number, from 1. */
  readonly step: number;
  /** learningRate / (1 − beta1^step). */
  readonly stepSize: number;
  /** √(1 − beta2^step). */
  readonly rootCorrection: number;
}

export interface SgdAttributes extends UpdateAttributes {
  /** An input of a recorded step: learningRate. */
  readonly numbers?: Float32Array;
  readonly momentum: number;
}

export interface QueryGroupAttributes {
  /** Query heads of a key/value head. */
  readonly group: number;
  readonly headDim: number;
}

export interface BatchedMatMulAttributes {
  readonly transposeA: boolean;
  readonly transposeB: boolean;
}

/** Element types of files that a kernel of stored tensors must know. */
export type StoredType = 'BF16' | 'F16' | 'F32';

export interface StoredTensorAttributes {
  /** Row-major, little-endian; may change after the call. */
  readonly bytes: Uint8Array;
  readonly stored: StoredType;
  readonly shape: readonly number[];
}

export interface StoreAsAttributes {
  /** A name of `STORED_FORMS`. */
  readonly form: string;
  /** Whether what gradients need of the matrix, its transpose, is kept once made. */
  readonly keepTransposed: boolean;
  /** Columns more, by which so many input channels of most energy are multiplied in twice as many bits. */
  readonly outlierChannels: number;
}

/** The code books of 4 bits: normal floats of QLoRA, and floats of 4 bits, both as bitsandbytes has them. */
export type FourBitType = 'nf4' | 'fp4';

export interface Quantise4bitAttributes {
  readonly type: FourBitType;
  /** Numbers that share a scale. */
  readonly blockSize: number;
}

/**
 * A matrix [out, in] in codes of 4 bits. Its number n, row-major, is map[code n] · absmax[⌊n / blockSize⌋], a product of floats that is rounded to float and
 * then to `dtype`. The code of number 2k is the high nibble of byte k, that of 2k + 1 the low one. `in` is a multiple of `blockSize`, so a block is of one row.
 *
 * With double quantisation scale b is fl(nestedMap[absmaxCodes[b]] · nestedAbsmax[⌊b / nestedBlockSize⌋]) + offset, each of the two steps rounded to float:
 * a fused multiply-add gives other bits.
 */
export interface Packed4bitAttributes {
  readonly out: number;
  readonly in: number;
  /** A power of two from 32 to 4096; bitsandbytes' default is 64. */
  readonly blockSize: number;
  /** Of double quantisation, a power of two; bitsandbytes has 256. 0 without it. */
  readonly nestedBlockSize: number;
  /** Of double quantisation, a float. 0 without it. */
  readonly offset: number;
  /** What the matrix was before, to which its numbers are rounded: to the nearest, ties to even. */
  readonly dtype: StoredType;
}

/** Makes a matrix of a backend's own from one in codes. */
export interface Store4bitAttributes extends Packed4bitAttributes {
  readonly type: FourBitType;
}
