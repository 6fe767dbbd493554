/** @file Every kernel of spft's ops that this backend has, by its name in the contract of `@spft/sparse-ops`. */
import type { SpftKernels } from '@spft/sparse-ops/backend';
import type { SpftWebGPUBackend } from '../device/backend.js';
import { packedAttentionKernels } from './attention/packed-attention.js';
import { ropeKernels } from './attention/rope.js';
import { productsKernels } from './engine/products.js';
import { storedTensorKernels } from './engine/stored-tensor.js';
import { linearCrossEntropyKernels } from './loss/linear-cross-entropy.js';
import { gatedMlpKernels } from './mlp/gated-mlp.js';
import { swigluKernels } from './mlp/swiglu.js';
import { rmsNormKernels } from './norm/rms-norm.js';
import { dropoutKernels } from './project/dropout.js';
import { linearKernels } from './project/linear.js';
import { loraLinearKernels } from './project/lora-linear.js';
import { projectColumnsKernels } from './project/project-columns.js';
import { projectRowsKernels } from './project/project-rows.js';
import { rescaleKernels } from './project/rescale.js';
import { columnsKernels } from './select/columns.js';
import { scoresKernels } from './select/scores.js';
import { rowsKernels } from './tokens/rows.js';
import { optimizerUpdateKernels } from './update/optimizer-update.js';

export const SPFT_KERNELS = {
  ...packedAttentionKernels,
  ...ropeKernels,
  ...productsKernels,
  ...storedTensorKernels,
  ...linearCrossEntropyKernels,
  ...gatedMlpKernels,
  ...swigluKernels,
  ...rmsNormKernels,
  ...dropoutKernels,
  ...linearKernels,
  ...loraLinearKernels,
  ...projectColumnsKernels,
  ...projectRowsKernels,
  ...rescaleKernels,
  ...columnsKernels,
  ...scoresKernels,
  ...rowsKernels,
  ...optimizerUpdateKernels,
} satisfies Partial<SpftKernels<SpftWebGPUBackend>>;
