/** @file Every kernel of spft's ops that this backend has, by its name in the contract of `@spft/sparse-ops`. */
import type { KernelName } from '@spft/sparse-ops/backend';
import { packedAttentionKernels } from './attention/packed-attention.js';
import { ropeKernels } from './attention/rope.js';
import { ropeAttentionKernels } from './attention/rope-attention.js';
import type { CudaKernels } from './contract.js';
import { decodeLayerKernels } from './decode/decode-layer.js';
import { batchedMatmulKernels } from './engine/batched-matmul.js';
import { columnDotsKernels } from './engine/column-dots.js';
import { storedTensorKernels } from './engine/stored-tensor.js';
import { transposeKernels } from './engine/transpose.js';
import { fourBitKernels } from './forms/four-bit.js';
import { linearCrossEntropyKernels } from './loss/linear-cross-entropy.js';
import { gatedMlpKernels } from './mlp/gated-mlp.js';
import { loraMlpKernels } from './mlp/lora-mlp.js';
import { swigluKernels } from './mlp/swiglu.js';
import { rmsNormKernels } from './norm/rms-norm.js';
import { doraLinearKernels } from './project/dora-linear.js';
import { dropoutKernels } from './project/dropout.js';
import { linearKernels } from './project/linear.js';
import { loraLinearKernels } from './project/lora-linear.js';
import { projectColumnsKernels } from './project/project-columns.js';
import { projectRowsKernels } from './project/project-rows.js';
import { columnNormsKernels } from './select/column-norms.js';
import { gatedScoresKernels } from './select/gated-scores.js';
import { gatedSelectionKernels } from './select/gated-selection.js';
import { gatherColumnsKernels } from './select/gather-columns.js';
import { gramScoresKernels } from './select/gram-scores.js';
import { maskColumnsKernels } from './select/mask-columns.js';
import { scatterColumnsKernels } from './select/scatter-columns.js';
import { topKSelectionKernels } from './select/top-k-selection.js';
import { gatherRowsKernels } from './tokens/rows-of-forms.js';
import { sequenceMeansKernels } from './tokens/sequence-means.js';
import { splitRowsKernels } from './tokens/split-rows.js';
import { adamw8bitKernels } from './update/adamw-8bit.js';
import { optimizerUpdateKernels } from './update/optimizer-update.js';

export const SPFT_KERNELS = {
  ...packedAttentionKernels,
  ...ropeKernels,
  ...ropeAttentionKernels,
  ...decodeLayerKernels,
  ...batchedMatmulKernels,
  ...storedTensorKernels,
  ...fourBitKernels,
  ...linearCrossEntropyKernels,
  ...gatedMlpKernels,
  ...loraMlpKernels,
  ...swigluKernels,
  ...rmsNormKernels,
  ...doraLinearKernels,
  ...dropoutKernels,
  ...linearKernels,
  ...loraLinearKernels,
  ...projectColumnsKernels,
  ...projectRowsKernels,
  ...columnDotsKernels,
  ...columnNormsKernels,
  ...sequenceMeansKernels,
  ...gatherColumnsKernels,
  ...scatterColumnsKernels,
  ...maskColumnsKernels,
  ...transposeKernels,
  ...gramScoresKernels,
  ...gatedScoresKernels,
  ...gatedSelectionKernels,
  ...topKSelectionKernels,
  ...gatherRowsKernels,
  ...splitRowsKernels,
  ...adamw8bitKernels,
  ...optimizerUpdateKernels,
} satisfies CudaKernels;

/** Those that read frozen matrices in the forms in which they are stored (forms/); the others are given plain ones. */
export const READ_FORMS: ReadonlySet<string> = new Set<KernelName>([
  ...(['SpftLinear', 'SpftLinearGrad', 'SpftLinearKeptRows', 'SpftLinearKeptRowsGrad'] as const),
  ...(['SpftLinearKeptColumns', 'SpftLinearKeptColumnsGrad', 'SpftDoraNorms', 'SpftStoredLike'] as const),
  ...(['SpftParts4bit', 'SpftGatherRows'] as const),
  ...(['SpftProjectRowsGrad', 'SpftProjectColumnsGrad', 'SpftGatedMlpGrad'] as const),
]);
