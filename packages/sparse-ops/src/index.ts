export { packedAttention } from './attention/packed-attention.js';
export { rope } from './attention/rope.js';
export { type RotaryTables, ropeAttention } from './attention/rope-attention.js';
export type {
  DynamicRopeScaling,
  LinearRopeScaling,
  Llama3RopeScaling,
  RopeScaling,
  YarnRopeScaling,
} from './attention/rope-scaling.js';
export {
  type RopeOptions,
  type RopeTables,
  ropeRows,
  ropeTables,
} from './attention/rope-tables.js';
export type { FourBitType, StoredType } from './contract/layers.js';
export * from './contract/step-recorder.js';
export type * from './contract/types.js';
export type { ShardingBackend, WeightShards } from './contract/weight-shards.js';
export { type DecoderWeights, decodeLayer, type KeysAndValues, type TokenPlaces } from './decode/decode-layer.js';
export { batchedMatMul } from './engine/batched-matmul.js';
export { type FrozenType, frozenBytes, type StoringBackend } from './engine/frozen-bytes.js';
export { isInShards } from './engine/in-shards.js';
export { matMul2d } from './engine/matmul.js';
export { stopGradient } from './engine/stop-gradient.js';
export { storedLike, storedTensor, takesStored } from './engine/stored-tensor.js';
export { noGradient } from './engine/tape.js';
export { type StoreAsOptions, StoredFormError } from './forms/form.js';
export type { StoredFormName } from './forms/forms.js';
export { holdShards, type OriginalSample, originalSample, spreadPlaces, storeAs } from './forms/stored-form.js';
export { ThreadsError } from './kernels/simd/threads/errors.js';
export { type SharedWasmOptions, shareWasmMemory } from './kernels/simd/threads/wasm.js';
export { type LinearCrossEntropyOptions, linearCrossEntropy } from './loss/linear-cross-entropy.js';
export { type LogitsCrossEntropyOptions, logitsCrossEntropy } from './loss/logits-cross-entropy.js';
export { type FrozenWeight, gatedMlp, type MlpWeights } from './mlp/gated-mlp.js';
export { loraMlp, type MlpLayer, type MlpLayers } from './mlp/lora-mlp.js';
export { swiglu } from './mlp/swiglu.js';
export { rmsNorm } from './norm/rms-norm.js';
export { rmsNormResidual } from './norm/rms-norm-residual.js';
export { doraLinear, doraNorms } from './project/dora-linear.js';
export { dropout } from './project/dropout.js';
export type { FrozenLayer, LoraBranch, OnTopOptions } from './project/frozen-layer.js';
export { linear } from './project/linear.js';
export { linearKeptColumns } from './project/linear-kept-columns.js';
export { linearKeptRows } from './project/linear-kept-rows.js';
export { loraLinear } from './project/lora-linear.js';
export { projectColumns } from './project/project-columns.js';
export { type ProjectRowsOptions, projectRows } from './project/project-rows.js';
export { columnNorms } from './select/column-norms.js';
export { gatedScores, type LowRankPair } from './select/gated-scores.js';
export { gatedSelection } from './select/gated-selection.js';
export { gatherColumns } from './select/gather-columns.js';
export { gramScores } from './select/gram-scores.js';
export { keptChannels } from './select/kept-channels.js';
export { maskColumns } from './select/mask-columns.js';
export { combineQueryKeyScores, queryChannels } from './select/query-channels.js';
export { scatterColumns } from './select/scatter-columns.js';
export { topKSelection } from './select/top-k-selection.js';
export { gatherRows } from './tokens/gather-rows.js';
export { sequenceMeans } from './tokens/sequence-means.js';
export { joinRows, splitRows } from './tokens/split-rows.js';
export { packTokens, type TokenPartition } from './tokens/token-partition.js';
export { type Adamw8bitState, adamw8bitUpdate, momentTablesTensor, zeroMoments8bit } from './update/adamw-8bit.js';
export { clipScale, globalNorm } from './update/global-norm.js';
export {
  type AdamwOptions,
  type AdamwState,
  adamwUpdate,
  type SgdOptions,
  type SgdState,
  sgdUpdate,
  zeroMoments,
} from './update/optimizer-update.js';
