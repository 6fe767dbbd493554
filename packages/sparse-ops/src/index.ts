export { PACKED_ATTENTION, PACKED_ATTENTION_GRAD, packedAttention } from './attention/packed-attention.js';
export { ROPE, rope } from './attention/rope.js';
export {
  type Llama3RopeScaling,
  type RopeOptions,
  type RopeTables,
  ropeFrequencies,
  ropeRows,
  ropeTables,
} from './attention/rope-tables.js';
export type { StoredType } from './contract/layers.js';
export * from './contract/step-recorder.js';
export type * from './contract/types.js';
export { BATCHED_MATMUL, batchedMatMul } from './engine/batched-matmul.js';
export { matMul2d } from './engine/matmul.js';
export { hasKernel, runOp, withoutKernels } from './engine/op.js';
export { stopGradient } from './engine/stop-gradient.js';
export {
  formOf,
  type OriginalSample,
  originalSample,
  requireForm,
  STORED_FORMS,
  type StoreAsOptions,
  StoredFormError,
  type StoredFormName,
  spreadPlaces,
  storeAs,
} from './engine/stored-form.js';
export {
  STORED_LIKE,
  STORED_TENSOR,
  storedLike,
  storedTensor,
  takesStored,
} from './engine/stored-tensor.js';
export { constant, isConstant, isRecording, noGradient, orForgetTape, takesKeptForLeak } from './engine/tape.js';
export {
  LINEAR_CROSS_ENTROPY,
  type LinearCrossEntropyOptions,
  linearCrossEntropy,
} from './loss/linear-cross-entropy.js';
export { type FrozenWeight, GATED_MLP, GATED_MLP_GRAD, gatedMlp, type MlpWeights } from './mlp/gated-mlp.js';
export { SWIGLU, SWIGLU_GRAD, swiglu } from './mlp/swiglu.js';
export { RMS_NORM, RMS_NORM_GRAD, rmsNorm } from './norm/rms-norm.js';
export { RMS_NORM_RESIDUAL_GRAD, rmsNormResidual } from './norm/rms-norm-residual.js';
export { DORA_LINEAR, DORA_LINEAR_GRAD, DORA_NORMS, doraLinear, doraNorms } from './project/dora-linear.js';
export { DROPOUT, dropout } from './project/dropout.js';
export type { FrozenLayer, LoraBranch } from './project/frozen-layer.js';
export { keepTransposed, releaseTransposed } from './project/frozen-product.js';
export { LINEAR, LINEAR_GRAD, linear } from './project/linear.js';
export { LINEAR_KEPT_COLUMNS, LINEAR_KEPT_COLUMNS_GRAD, linearKeptColumns } from './project/linear-kept-columns.js';
export { LINEAR_KEPT_ROWS, LINEAR_KEPT_ROWS_GRAD, linearKeptRows } from './project/linear-kept-rows.js';
export { LORA_LINEAR, LORA_LINEAR_GRAD, loraLinear } from './project/lora-linear.js';
export { PROJECT_COLUMNS, PROJECT_COLUMNS_GRAD, projectColumns } from './project/project-columns.js';
export { PROJECT_ROWS, PROJECT_ROWS_GRAD, projectRows } from './project/project-rows.js';
export { COLUMN_NORMS, columnNorms } from './select/column-norms.js';
export { GATED_SCORES, gatedScores, type LowRankPair } from './select/gated-scores.js';
export { GATHER_COLUMNS, gatherColumns } from './select/gather-columns.js';
export { GRAM_SCORES, GRAM_SCORES_GRAD, gramScores } from './select/gram-scores.js';
export { GRAM_SCORES_OF_ALL, gramScoresOfAll } from './select/gram-scores-of-all.js';
export { keptChannels } from './select/kept-channels.js';
export { MASK_COLUMNS, maskColumns } from './select/mask-columns.js';
export {
  COMBINE_QUERY_KEY_SCORES,
  combineQueryKeyScores,
  QUERY_CHANNELS,
  queryChannels,
} from './select/query-channels.js';
export { SCATTER_COLUMNS, scatterColumns } from './select/scatter-columns.js';
export { TOP_K_SELECTION, topKSelection } from './select/top-k-selection.js';
export { GATHER_ROWS, GATHER_ROWS_GRAD, gatherRows } from './tokens/gather-rows.js';
export {
  fitsShape,
  type LayoutShape,
  longestSequence,
  paddingSequences,
  padLayout,
} from './tokens/pad-layout.js';
export { joinSlices, type RowSlices, sliceRows } from './tokens/row-slices.js';
export { SEQUENCE_MEANS, sequenceMeans } from './tokens/sequence-means.js';
export { JOIN_ROWS, joinRows, SPLIT_ROWS, splitRows } from './tokens/split-rows.js';
export { packTokens, type TokenPartition } from './tokens/token-partition.js';
export { clipScale, GLOBAL_NORM, globalNorm } from './update/global-norm.js';
export {
  ADAMW,
  type AdamwOptions,
  type AdamwState,
  adamwNumbers,
  adamwUpdate,
  SGD,
  type SgdOptions,
  type SgdState,
  sgdNumbers,
  sgdUpdate,
  zeroMoments,
} from './update/optimizer-update.js';
