import './kernels/host/index.js';

export { BATCHED_MATMUL, batchedMatMul } from './batched-matmul.js';
export { clipScale, GLOBAL_NORM, globalNorm } from './global-norm.js';
export { LINEAR_CROSS_ENTROPY, type LinearCrossEntropyOptions, linearCrossEntropy } from './linear-cross-entropy.js';
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
export { RMS_NORM, RMS_NORM_GRAD, rmsNorm } from './rms-norm.js';
export { ROPE, rope } from './rope.js';
export {
  type Llama3RopeScaling,
  type RopeOptions,
  type RopeTables,
  ropeFrequencies,
  ropeRows,
  ropeTables,
} from './rope-tables.js';
export { SWIGLU, SWIGLU_GRAD, swiglu } from './swiglu.js';
export { isRecording, noGradient } from './tape.js';
export { packTokens, type TokenPartition } from './token-partition.js';
export type * from './types.js';
