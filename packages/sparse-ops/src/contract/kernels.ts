/**
 * @file The contract between ops and backends: every kernel by name, with its inputs, attributes, outputs and gradient. entry.ts says how an entry is
 * read, layers.ts declares the attributes. A new kernel is an entry here; its op calls it by `runOp`, backends register theirs by name, and the
 * conformance suite (../conformance) has a case for it.
 *
 * What holds of all: inputs are left as they are, unless the entry says that they are updated, and never disposed; outputs belong to the caller, and each of their elements is written; a kernel
 * that throws leaves nothing behind. T, D, H, I, V, N, K, G, d and r mean what types.ts says.
 */
import type * as tf from '@tensorflow/tfjs';
import { attributes, type InfosOf, type InputsByName, type KernelEntry, kernel, type TensorsOf } from './entry.js';
import type * as of from './layers.js';

/** A matrix in codes of 4 bits (`Packed4bitAttributes`): `absmax` are its scales, or, with double quantisation, the three after it say them. */
const PACKED_4BIT = [
  'codes u8 [packed]',
  'map [16]',
  'absmax? [blocks]',
  'absmaxCodes? u8 [blocks]',
  'nestedAbsmax? [nestedBlocks]',
  'nestedMap? [256]',
] as const;

export const CONTRACT = {
  // project: linear layers and their adapters.
  SpftLinear: kernel({
    inputs: ['x [T, in]', 'weight [out, in]', 'bias? [out]'],
    outputs: ['y [T, out]'],
    gradient: 'SpftLinearGrad',
  }),
  SpftLinearGrad: kernel({ inputs: ['dy [T, out]', 'weight [out, in]'], outputs: ['dx [T, in]'] }),
  SpftLinearKeptRows: kernel({
    inputs: ['x [T, in]', 'weight [out, in]', 'indices int32 [kept]', 'bias? [out]'],
    outputs: ['y [T, kept]'],
    gradient: 'SpftLinearKeptRowsGrad',
  }),
  SpftLinearKeptRowsGrad: kernel({
    inputs: ['dy [T, kept]', 'weight [out, in]', 'indices int32 [kept]'],
    outputs: ['dx [T, in]'],
  }),
  SpftLinearKeptColumns: kernel({
    inputs: ['x [T, kept]', 'weight [out, in]', 'indices int32 [kept]', 'bias? [out]'],
    outputs: ['y [T, out]'],
    gradient: 'SpftLinearKeptColumnsGrad',
  }),
  SpftLinearKeptColumnsGrad: kernel({
    inputs: ['dy [T, out]', 'weight [out, in]', 'indices int32 [kept]'],
    outputs: ['dx [T, kept]'],
  }),
  SpftLoraLinear: kernel({
    inputs: ['x [T, in]', 'base [T, out]', 'loraA [r, in]', 'loraB [out, r]'],
    attributes: attributes<of.ScalingAttributes>(),
    outputs: ['y [T, out]', 'h [T, r]'],
    gradient: 'SpftLoraLinearGrad',
  }),
  SpftLoraLinearGrad: kernel({
    inputs: ['x [T, in]', 'h [T, r]', 'loraA [r, in]', 'loraB [out, r]', 'dy [T, out]'],
    attributes: attributes<of.ScalingAttributes>(),
    outputs: ['dx [T, in]', 'dA [r, in]', 'dB [out, r]'],
  }),
  SpftDoraLinear: kernel({
    inputs: [
      ...(['x [T, in]', 'base [T, out]', 'loraA [r, in]', 'loraB [out, r]'] as const),
      ...(['magnitude [out]', 'norms [out]', 'bias? [out]'] as const),
    ],
    attributes: attributes<of.ScalingAttributes>(),
    outputs: ['y [T, out]', 'h [T, r]'],
    gradient: 'SpftDoraLinearGrad',
  }),
  SpftDoraLinearGrad: kernel({
    inputs: [
      ...(['x [T, in]', 'base [T, out]', 'h [T, r]', 'loraA [r, in]', 'loraB [out, r]'] as const),
      ...(['magnitude [out]', 'norms [out]', 'dy [T, out]', 'bias? [out]'] as const),
    ],
    attributes: attributes<of.ScalingAttributes>(),
    outputs: ['dx [T, in]', 'dbase [T, out]', 'dA [r, in]', 'dB [out, r]', 'dmagnitude [out]'],
  }),
  /** ‖W + s·B·A‖ by output row. */
  SpftDoraNorms: kernel({
    inputs: ['weight [out, in]', 'loraA [r, in]', 'loraB [out, r]'],
    attributes: attributes<of.ScalingAttributes>(),
    outputs: ['norms [out]'],
  }),
  /** z ⊙ magnitude / norms, zero where a norm is. */
  SpftRescaleColumns: kernel({
    inputs: ['z [T, out]', 'magnitude [out]', 'norms [out]'],
    outputs: ['y [T, out]'],
  }),
  /** Outputs: y of each layer, h where a layer has a branch, z and norms of each layer with a magnitude, and what the gradient's kernel wants. */
  SpftProjectRows: kernel({
    inputs: ['x [T, in]'],
    attributes: attributes<of.ProjectRowsAttributes>(),
    outputs: ['y# […]', 'kept# […]'],
    gradient: 'SpftProjectRowsGrad',
    needs: ['SpftProjectRowsGrad'],
  }),
  /** Outputs: dx if asked for, then dA, dB and perhaps dmagnitude of each layer with a branch. */
  SpftProjectRowsGrad: kernel({
    inputs: ['x [T, in]', 'dy# […]', 'h? [T, Σr]', 'z# […]', 'norms# […]', 'kept# […]'],
    attributes: attributes<of.ProjectRowsGradAttributes>(),
    outputs: ['dx? [T, in]', 'dbranches# […]'],
    needs: ['SpftProjectRows'],
  }),
  /** Outputs: y (which nobody reads unless `withOutput`), then as of SpftProjectRows. */
  SpftProjectColumns: kernel({
    inputs: ['x [T, in]', 'residual [T, out]'],
    attributes: attributes<of.ProjectColumnsAttributes>(),
    outputs: ['y [T, out]', 'kept# […]'],
    gradient: 'SpftProjectColumnsGrad',
    needs: ['SpftProjectColumnsGrad'],
  }),
  /** Outputs: dx, then dA, dB and perhaps dmagnitude of the branch. */
  SpftProjectColumnsGrad: kernel({
    inputs: ['x [T, in]', 'dy [T, out]', 'h? [T, r]', 'z# […]', 'norms# […]', 'kept# […]'],
    attributes: attributes<of.ProjectColumnsAttributes>(),
    outputs: ['dx [T, in]', 'dbranch# […]'],
    needs: ['SpftProjectColumns'],
  }),
  /** The mask is a function of seed and place: the same on every backend. */
  SpftDropout: kernel({
    inputs: ['x […]'],
    attributes: attributes<of.DropoutAttributes>(),
    outputs: ['y […]'],
    gradient: 'itself',
  }),

  // norm.
  /** `again`: y was there before and is made once more for a gradient, which multiplies it by no frozen matrix. A kernel may ignore it. */
  SpftRmsNorm: kernel({
    inputs: ['x [T, H]', 'weight [H]'],
    attributes: attributes<{ readonly eps: number; readonly again?: boolean }>(),
    outputs: ['y [T, H]'],
    gradient: 'SpftRmsNormGrad',
  }),
  SpftRmsNormGrad: kernel({
    inputs: ['x [T, H]', 'weight [H]', 'dy [T, H]'],
    attributes: attributes<{ readonly eps: number }>(),
    outputs: ['dx [T, H]'],
  }),
  /** The norm's gradient and what x gets elsewhere, added. */
  SpftRmsNormResidualGrad: kernel({
    inputs: ['x [T, H]', 'weight [H]', 'dy [T, H]', 'dresidual [T, H]'],
    attributes: attributes<{ readonly eps: number }>(),
    outputs: ['dx [T, H]'],
    needs: ['SpftRmsNorm'],
  }),

  // attention.
  SpftRope: kernel({
    inputs: ['x [T, heads·d]', 'cos [T, d/2]', 'sin [T, d/2]'],
    attributes: attributes<of.RopeAttributes>(),
    outputs: ['y [T, heads·d]'],
    gradient: 'itself',
  }),
  /** Beside y, whatever the gradient's kernel wants back. */
  SpftPackedAttention: kernel({
    inputs: ['q [T, N·d]', 'k [T, K·d]', 'v [T, K·d]'],
    attributes: attributes<of.AttentionAttributes>(),
    outputs: ['y [T, N·d]', 'kept# […]'],
    gradient: 'SpftPackedAttentionGrad',
  }),
  /** y and kept# where the forward's kernel gave more than y. */
  SpftPackedAttentionGrad: kernel({
    inputs: ['q [T, N·d]', 'k [T, K·d]', 'v [T, K·d]', 'dy [T, N·d]', 'y? [T, N·d]', 'kept# […]'],
    attributes: attributes<of.AttentionAttributes>(),
    outputs: ['dq [T, N·d]', 'dk [T, K·d]', 'dv [T, K·d]'],
  }),
  /** The same of queries and keys that are turned first (SpftRope). Outputs: y, and what the gradient's kernel wants. */
  SpftRopeAttention: kernel({
    inputs: ['q [T, N·d]', 'k [T, K·d]', 'v [T, K·d]', 'cos [T, d/2]', 'sin [T, d/2]'],
    attributes: attributes<of.AttentionAttributes>(),
    outputs: ['y [T, N·d]', 'kept# […]'],
    gradient: 'SpftRopeAttentionGrad',
    needs: ['SpftRopeAttentionGrad'],
  }),
  /** Gradients of q and k as they were before they were turned. */
  SpftRopeAttentionGrad: kernel({
    inputs: ['v [T, K·d]', 'y [T, N·d]', 'dy [T, N·d]', 'cos [T, d/2]', 'sin [T, d/2]', 'kept# […]'],
    attributes: attributes<of.AttentionAttributes>(),
    outputs: ['dq [T, N·d]', 'dk [T, K·d]', 'dv [T, K·d]'],
    needs: ['SpftRopeAttention'],
  }),

  // mlp.
  SpftSwiglu: kernel({ inputs: ['gate [T, I]', 'up [T, I]'], outputs: ['y [T, I]'], gradient: 'SpftSwigluGrad' }),
  SpftSwigluGrad: kernel({
    inputs: ['gate [T, I]', 'up [T, I]', 'dy [T, I]'],
    outputs: ['dgate [T, I]', 'dup [T, I]'],
  }),
  /** Beside y (which nobody reads unless `withOutput`), whatever the gradient's kernel wants back. */
  SpftGatedMlp: kernel({
    inputs: ['x [T, H]', 'residual [T, H]'],
    attributes: attributes<of.GatedMlpAttributes>(),
    outputs: ['y [T, H]', 'kept# […]'],
    gradient: 'SpftGatedMlpGrad',
    needs: ['SpftGatedMlpGrad'],
  }),
  SpftGatedMlpGrad: kernel({
    inputs: ['dy [T, H]', 'kept# […]'],
    attributes: attributes<of.GatedMlpAttributes>(),
    outputs: ['dx [T, H]'],
    needs: ['SpftGatedMlp'],
  }),
  /**
   * The MLP with branches on any of its layers. Outputs: y (which nobody reads unless `withOutput`), then whatever the gradient's kernel wants back. Nothing
   * at all where the kernels of which it is composed do better: then it is composed of them.
   */
  SpftLoraMlp: kernel({
    inputs: ['x [T, H]', 'residual [T, H]'],
    attributes: attributes<of.LoraMlpAttributes>(),
    outputs: ['y? [T, H]', 'kept# […]'],
    gradient: 'SpftLoraMlpGrad',
    needs: ['SpftLoraMlpGrad'],
  }),
  /** Outputs: dx, then dA and dB of each layer with a branch, of gate, up and down. */
  SpftLoraMlpGrad: kernel({
    inputs: ['x [T, H]', 'dy [T, H]', 'kept# […]'],
    attributes: attributes<of.LoraMlpAttributes>(),
    outputs: ['dx [T, H]', 'dbranches# […]'],
    needs: ['SpftLoraMlp'],
  }),

  // decode: one token a sequence, where keys and values of those before are at hand.
  /** Writes the tokens' own keys, turned, and values at `positions`, and attends over all up to there. C tokens have room. */
  SpftDecodeLayer: kernel({
    inputs: [
      ...(['x [B, H]', 'inputNorm [H]', 'postAttentionNorm [H]'] as const),
      ...(['cos [B, d/2]', 'sin [B, d/2]', 'positions int32 [B]'] as const),
      ...(['keys [B, C, K·d]', 'values [B, C, K·d]'] as const),
    ],
    attributes: attributes<of.DecodeLayerAttributes>(),
    outputs: ['y [B, H]', 'keys [B, C, K·d]', 'values [B, C, K·d]'],
    updates: ['keys', 'values'],
    shares: { keys: 'keys', values: 'values' },
  }),

  // loss: summed over rows, and the gradient of x, which is made while the probabilities are at hand.
  SpftLinearCrossEntropy: kernel({
    inputs: ['x [R, H]', 'weight [V, H]', 'labels int32 [R]'],
    attributes: attributes<of.LinearCrossEntropyAttributes>(),
    outputs: ['loss []', 'dx? [R, H]'],
  }),

  // update: all parameters in one call. Outputs may be the memory of parameters and moments, updated where it is.
  SpftAdamw: kernel({
    inputs: ['p# […]', 'g# […]', 'm# […]', 'v# […]', 'gradientScale? []'],
    attributes: attributes<of.AdamwAttributes>(),
    outputs: ['p# […]', 'm# […]', 'v# […]'],
    updates: ['p', 'm', 'v'],
  }),
  /** Moments as codes, four a word, with a scale for each block of 256 (update/dynamic-map.ts); `tables`: values and thresholds of both. */
  SpftAdamw8bit: kernel({
    inputs: [
      ...(['p# […]', 'g# […]', 'mCodes# int32 […]', 'mScales# […]', 'vCodes# int32 […]', 'vScales# […]'] as const),
      ...(['tables [4, 256]', 'gradientScale? []'] as const),
    ],
    attributes: attributes<of.AdamwAttributes>(),
    outputs: ['p# […]', 'mCodes# int32 […]', 'mScales# […]', 'vCodes# int32 […]', 'vScales# […]'],
    updates: ['p', 'mCodes', 'mScales', 'vCodes', 'vScales'],
  }),
  /** No m where momentum is 0. */
  SpftSgd: kernel({
    inputs: ['p# […]', 'g# […]', 'm# […]', 'gradientScale? []'],
    attributes: attributes<of.SgdAttributes>(),
    outputs: ['p# […]', 'm# […]'],
    updates: ['p', 'm'],
  }),
  SpftGlobalNorm: kernel({
    inputs: ['t# […]'],
    attributes: attributes<{ readonly count: number }>(),
    outputs: ['norm []'],
  }),

  // tokens: rows.
  SpftGatherRows: kernel({
    inputs: ['x [M, n]', 'rows int32 [R]'],
    outputs: ['y [R, n]'],
    gradient: 'SpftGatherRowsGrad',
  }),
  /** Rows named twice add up. */
  SpftGatherRowsGrad: kernel({
    inputs: ['dy [R, n]', 'rows int32 [R]'],
    attributes: attributes<{ readonly total: number }>(),
    outputs: ['dx [total, n]'],
  }),
  SpftSplitRows: kernel({
    inputs: ['x [T, n]'],
    attributes: attributes<{ readonly at: number }>(),
    outputs: ['first [at, n]', 'second [T−at, n]'],
    gradient: 'SpftJoinRows',
    shares: { first: 'x', second: 'x' },
  }),
  SpftJoinRows: kernel({
    inputs: ['first [D, n]', 'second [S, n]'],
    outputs: ['y [D+S, n]'],
    gradient: 'SpftSplitRows',
    shares: { y: 'first or second' },
  }),
  SpftSequenceMeans: kernel({
    inputs: ['x [T, n]'],
    attributes: attributes<of.SequenceMeansAttributes>(),
    outputs: ['y [B, n]'],
  }),

  // select: columns, and scores of channels.
  SpftGatherColumns: kernel({
    inputs: ['x [T, n]', 'indices int32 [kept]'],
    outputs: ['y [T, kept]'],
    gradient: 'SpftScatterColumns',
  }),
  SpftGatherColumnsTransposed: kernel({ inputs: ['x [T, n]', 'indices int32 [kept]'], outputs: ['y [kept, T]'] }),
  /** Zero where no index points. */
  SpftScatterColumns: kernel({
    inputs: ['x [T, kept]', 'indices int32 [kept]'],
    attributes: attributes<{ readonly total: number }>(),
    outputs: ['y [T, total]'],
    gradient: 'SpftGatherColumns',
  }),
  /** Zero in the other columns from row `fromRow` on. */
  SpftMaskColumns: kernel({
    inputs: ['x [T, n]', 'indices int32 [kept]'],
    attributes: attributes<{ readonly fromRow: number }>(),
    outputs: ['y [T, n]'],
    gradient: 'itself',
    shares: { y: 'x' },
  }),
  SpftColumnDots: kernel({ inputs: ['a [T, n]', 'b [T, n]'], outputs: ['y [n]'] }),
  SpftColumnNorms: kernel({ inputs: ['x [T, n]'], outputs: ['y [n]'] }),
  SpftGramScores: kernel({
    inputs: ['x [T, in]', 'a [in, r]', 'b [r, n]'],
    outputs: ['scores [n]'],
    gradient: 'SpftGramScoresGrad',
  }),
  SpftGramScoresGrad: kernel({
    inputs: ['x [T, in]', 'a [in, r]', 'b [r, n]', 'scores [n]', 'dy [n]'],
    outputs: ['dx [T, in]'],
  }),
  SpftGramScoresOfAll: kernel({
    inputs: ['x [T, in]', 'a# […]', 'b# […]'],
    attributes: attributes<{ readonly count: number }>(),
    outputs: ['scores# […]'],
  }),
  SpftGatedScores: kernel({
    inputs: ['x [B, in]', 'gateA [in, r]', 'gateB [r, n]', 'upA [in, r]', 'upB [r, n]'],
    outputs: ['scores [n]'],
  }),
  /** Ascending; of equal scores the lower channel. */
  SpftTopKSelection: kernel({
    inputs: ['scores [n]'],
    attributes: attributes<{ readonly kept: number }>(),
    outputs: ['indices int32 [kept]'],
  }),
  /** The channels of the highest gated scores of the mean rows of sequences: SpftSequenceMeans, SpftGatedScores and SpftTopKSelection at once. */
  SpftGatedSelection: kernel({
    inputs: ['x [T, in]', 'gateA [in, r]', 'gateB [r, n]', 'upA [in, r]', 'upB [r, n]'],
    attributes: attributes<of.GatedSelectionAttributes>(),
    outputs: ['indices int32 [kept]'],
  }),
  SpftCombineQueryKeyScores: kernel({
    inputs: ['scoreQ [N·d]', 'scoreK [K·d]'],
    attributes: attributes<of.QueryGroupAttributes>(),
    outputs: ['score [K·d]'],
  }),
  SpftQueryChannels: kernel({
    inputs: ['indices int32 [kept]'],
    attributes: attributes<of.QueryGroupAttributes>(),
    outputs: ['channels int32 [kept·G]'],
  }),

  // engine: what ops are made of.
  SpftTranspose2d: kernel({ inputs: ['x [m, n]'], outputs: ['y [n, m]'] }),
  /** Operands as the attributes say. */
  SpftBatchedMatMul: kernel({
    inputs: ['a [n, …, …]', 'b [n, …, …]'],
    attributes: attributes<of.BatchedMatMulAttributes>(),
    outputs: ['y [n, m, p]'],
    gradient: 'itself',
  }),
  /** A frozen tensor from the bytes of a file: float32 in name, stored as the backend likes. */
  SpftStoredTensor: kernel({
    inputs: [],
    attributes: attributes<of.StoredTensorAttributes>(),
    outputs: ['x […]'],
  }),
  /** x with its elements stored as those of `like` are. */
  SpftStoredLike: kernel({ inputs: ['x […]', 'like […]'], outputs: ['y […]'], shares: { y: 'x' } }),
  /** A frozen matrix in another form, whose values are x's rounded to it. Only of backends that have the form. */
  SpftStoreAs: kernel({
    inputs: ['x [out, in]'],
    attributes: attributes<of.StoreAsAttributes>(),
    outputs: ['y [out, in]'],
  }),

  // forms: matrices in codes of 4 bits (forms/four-bit.ts), whole or their kept rows or columns alone, and products that unpack on the way.
  /** The scales are those of bitsandbytes, and so are the codes, of a quotient that is made as x · fl(1 / absmax). */
  SpftQuantise4bit: kernel({
    inputs: ['x [out, in]'],
    attributes: attributes<of.Quantise4bitAttributes>(),
    outputs: ['codes u8 [packed]', 'absmax [blocks]'],
  }),
  SpftUnpack4bit: kernel({
    inputs: PACKED_4BIT,
    attributes: attributes<of.Packed4bitAttributes>(),
    outputs: ['y [out, in]'],
  }),
  SpftUnpack4bitRows: kernel({
    inputs: [...PACKED_4BIT, 'indices int32 [kept]'],
    attributes: attributes<of.Packed4bitAttributes>(),
    outputs: ['y [kept, in]'],
  }),
  SpftUnpack4bitColumns: kernel({
    inputs: [...PACKED_4BIT, 'indices int32 [kept]'],
    attributes: attributes<of.Packed4bitAttributes>(),
    outputs: ['y [out, kept]'],
  }),
  SpftLinear4bit: kernel({
    inputs: ['x [T, in]', ...PACKED_4BIT],
    attributes: attributes<of.Packed4bitAttributes>(),
    outputs: ['y [T, out]'],
    gradient: 'SpftLinear4bitGrad',
  }),
  SpftLinear4bitGrad: kernel({
    inputs: ['dy [T, out]', ...PACKED_4BIT],
    attributes: attributes<of.Packed4bitAttributes>(),
    outputs: ['dx [T, in]'],
  }),
  /** A matrix in the backend's own form, which every other kernel of it takes as it lies. It may share the inputs' memory. Only of backends that have the form. */
  SpftStore4bit: kernel({
    inputs: PACKED_4BIT,
    attributes: attributes<of.Store4bitAttributes>(),
    outputs: ['y [out, in]'],
    needs: ['SpftParts4bit'],
  }),
  /** What such a matrix was made from, of the inputs of SpftStore4bit those that there were, in their order. */
  SpftParts4bit: kernel({
    inputs: ['x [out, in]'],
    outputs: ['parts# […]'],
    needs: ['SpftStore4bit'],
  }),
} satisfies Readonly<Record<`Spft${string}`, KernelEntry>>;

type Contract = typeof CONTRACT;

/** The name of a kernel of the contract. */
export type KernelName = keyof Contract;

type EntryOf<Name extends KernelName> = Contract[Name];

/** The inputs of a kernel by name. */
export type KernelInputsOf<Name extends KernelName, T = tf.TensorInfo> = InputsByName<EntryOf<Name>['inputs'], T>;

/** The attributes of a kernel. */
export type KernelAttributesOf<Name extends KernelName> =
  EntryOf<Name> extends KernelEntry<readonly string[], readonly string[], infer Attributes> ? Attributes : never;

/** What an op gets of a kernel. */
export type KernelTensorsOf<Name extends KernelName> = TensorsOf<EntryOf<Name>['outputs']>;

/** What a kernel gives. */
export type KernelInfosOf<Name extends KernelName> = InfosOf<EntryOf<Name>['outputs'], tf.TensorInfo>;

/** What a kernel is called with. */
export interface SpftKernelCall<Name extends KernelName, Backend = tf.KernelBackend> {
  readonly backend: Backend;
  readonly inputs: KernelInputsOf<Name>;
  readonly attributes: KernelAttributesOf<Name>;
}

/** Every kernel of the contract as a backend writes it: `{ … } satisfies Partial<SpftKernels<MyBackend>>`. */
export type SpftKernels<Backend = tf.KernelBackend> = {
  readonly [Name in KernelName]: (call: SpftKernelCall<Name, Backend>) => KernelInfosOf<Name>;
};

export const KERNEL_NAMES = Object.keys(CONTRACT) as readonly KernelName[];

/** Whether it is the name of a kernel of the contract. */
export const isKernelName = (name: string): name is KernelName => Object.hasOwn(CONTRACT, name);
