/** @file Every kernel of spft's ops that this backend has, by its name in the contract of `@spft/sparse-ops`. */
import type { KernelName } from '@spft/sparse-ops/backend';
import { packedAttentionKernels } from './attention/packed-attention.js';
import { ropeKernels } from './attention/rope.js';
import type { CudaKernels } from './contract.js';
import { batchedMatmulKernels } from './engine/batched-matmul.js';
import { storedTensorKernels } from './engine/stored-tensor.js';
import { linearCrossEntropyKernels } from './loss/linear-cross-entropy.js';
import { gatedMlpKernels } from './mlp/gated-mlp.js';
import { swigluKernels } from './mlp/swiglu.js';
import { rmsNormKernels } from './norm/rms-norm.js';
import { doraLinearKernels } from './project/dora-linear.js';
import { dropoutKernels } from './project/dropout.js';
import { linearKernels } from './project/linear.js';
import { loraLinearKernels } from './project/lora-linear.js';
import { projectColumnsKernels } from './project/project-columns.js';
import { projectRowsKernels } from './project/project-rows.js';
import { columnDotsKernels } from './select/column-dots.js';
import { columnsKernels } from './select/columns.js';
import { scoresKernels } from './select/scores.js';
import { topKSelectionKernels } from './select/top-k-selection.js';
import { rowsKernels } from './tokens/rows.js';
import { optimizerUpdateKernels } from './update/optimizer-update.js';

export const SPFT_KERNELS = {
  ...packedAttentionKernels,
  ...ropeKernels,
  ...batchedMatmulKernels,
  ...storedTensorKernels,
  ...linearCrossEntropyKernels,
  ...gatedMlpKernels,
  ...swigluKernels,
  ...rmsNormKernels,
  ...doraLinearKernels,
  ...dropoutKernels,
  ...linearKernels,
  ...loraLinearKernels,
  ...projectColumnsKernels,
  ...projectRowsKernels,
  ...columnDotsKernels,
  ...columnsKernels,
  ...scoresKernels,
  ...topKSelectionKernels,
  ...rowsKernels,
  ...optimizerUpdateKernels,
} satisfies CudaKernels;

/** Those that read frozen matrices in the forms in which they are stored (forms/); the others are given plain ones. */
export const READ_FORMS: ReadonlySet<string> = new Set<KernelName>([
  ...(['SpftLinear', 'SpftLinearGrad', 'SpftLinearKeptRows', 'SpftLinearKeptRowsGrad'] as const),
  ...(['SpftLinearKeptColumns', 'SpftLinearKeptColumnsGrad', 'SpftDoraNorms', 'SpftStoredLike'] as const),
  ...(['SpftProjectRowsGrad', 'SpftProjectColumnsGrad', 'SpftGatedMlpGrad'] as const),
]);
