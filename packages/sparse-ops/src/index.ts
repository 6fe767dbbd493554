export { BATCHED_MATMUL, batchedMatMul } from './batched-matmul.js';
export { COLUMN_NORMS, columnNorms } from './column-norms.js';
export { DORA_LINEAR, DORA_LINEAR_GRAD, DORA_NORMS, doraLinear, doraNorms } from './dora-linear.js';
export { DROPOUT, dropout } from './dropout.js';
export type { FrozenLayer, LoraBranch } from './frozen-layer.js';
export { keepTransposed, releaseTransposed } from './frozen-product.js';
export { type FrozenWeight, GATED_MLP, GATED_MLP_GRAD, gatedMlp, type MlpWeights } from './gated-mlp.js';
export { GATED_SCORES, gatedScores, type LowRankPair } from './gated-scores.js';
export { GATHER_COLUMNS, gatherColumns } from './gather-columns.js';
export { GATHER_ROWS, GATHER_ROWS_GRAD, gatherRows } from './gather-rows.js';
export { clipScale, GLOBAL_NORM, globalNorm } from './global-norm.js';
export { GRAM_SCORES, GRAM_SCORES_GRAD, gramScores } from './gram-scores.js';
export { GRAM_SCORES_OF_ALL, gramScoresOfAll } from './gram-scores-of-all.js';
export { keptChannels } from './kept-channels.js';
export { LINEAR, LINEAR_GRAD, linear } from './linear.js';
export { LINEAR_CROSS_ENTROPY, type LinearCrossEntropyOptions, linearCrossEntropy } from './linear-cross-entropy.js';
export { LINEAR_KEPT_COLUMNS, LINEAR_KEPT_COLUMNS_GRAD, linearKeptColumns } from './linear-kept-columns.js';
export { LINEAR_KEPT_ROWS, LINEAR_KEPT_ROWS_GRAD, linearKeptRows } from './linear-kept-rows.js';
export { LORA_LINEAR, LORA_LINEAR_GRAD, loraLinear } from './lora-linear.js';
export { MASK_COLUMNS, maskColumns } from './mask-columns.js';
export { hasKernel, type KernelAttributes, type KernelInputs, runOp, withoutKernels } from './op.js';
export {
  ADAMW,
  type AdamwOptions,
  type AdamwState,
  adamwUpdate,
  SGD,
  type SgdOptions,
  type SgdState,
  sgdUpdate,
  zeroMoments,
} from './optimizer-update.js';
export { PACKED_ATTENTION, PACKED_ATTENTION_GRAD, packedAttention } from './packed-attention.js';
export { PROJECT_COLUMNS, PROJECT_COLUMNS_GRAD, projectColumns } from './project-columns.js';
export { PROJECT_ROWS, PROJECT_ROWS_GRAD, projectRows } from './project-rows.js';
export { COMBINE_QUERY_KEY_SCORES, combineQueryKeyScores, QUERY_CHANNELS, queryChannels } from './query-channels.js';
export { RMS_NORM, RMS_NORM_GRAD, rmsNorm } from './rms-norm.js';
export { RMS_NORM_RESIDUAL_GRAD, rmsNormResidual } from './rms-norm-residual.js';
export { ROPE, rope } from './rope.js';
export {
  type Llama3RopeScaling,
  type RopeOptions,
  type RopeTables,
  ropeFrequencies,
  ropeRows,
  ropeTables,
} from './rope-tables.js';
export { joinSlices, type RowSlices, sliceRows } from './row-slices.js';
export { SCATTER_COLUMNS, scatterColumns } from './scatter-columns.js';
export { SEQUENCE_MEANS, sequenceMeans } from './sequence-means.js';
export { JOIN_ROWS, joinRows, SPLIT_ROWS, splitRows } from './split-rows.js';
export { stopGradient } from './stop-gradient.js';
export { STORED_LIKE, STORED_TENSOR, type StoredType, storedLike, storedTensor, takesStored } from './stored-tensor.js';
export { SWIGLU, SWIGLU_GRAD, swiglu } from './swiglu.js';
export { constant, isConstant, isRecording, noGradient, takesKeptForLeak } from './tape.js';
export { packTokens, type TokenPartition } from './token-partition.js';
export { TOP_K_SELECTION, topKSelection } from './top-k-selection.js';
export type * from './types.js';
