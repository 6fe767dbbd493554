/**
 * @file Every kernel of spft's ops that this backend has, by its name in the contract of `@spft/sparse-ops`. Types alone come from there, as this
 * package does not depend on it: a name, input, attribute or output that is not the contract's does not compile, and a test holds what is
 * registered against the contract itself.
 */
import type { KernelName } from '@spft/sparse-ops/backend';
import type { BlasKernel } from '../shared/call.js';
import { attention, attentionGrad } from './attention/packed-attention.js';
import { linearCrossEntropy } from './loss/linear-cross-entropy.js';
import * as rows from './norm/token-wise.js';
import * as linear from './project/linear.js';
import * as lora from './project/lora.js';
import * as columns from './select/columns.js';
import * as optimizer from './update/optimizer-update.js';

export const SPFT_KERNELS = {
  SpftAdamw: optimizer.adamw,
  SpftColumnDots: columns.columnDots,
  SpftColumnNorms: columns.columnNorms,
  SpftDoraLinear: lora.doraLinear,
  SpftDoraLinearGrad: lora.doraLinearGrad,
  SpftDoraNorms: lora.doraNorms,
  SpftDropout: rows.dropout,
  SpftGatherColumns: columns.gatherColumns,
  SpftGatherColumnsTransposed: columns.gatherColumnsTransposed,
  SpftGatherRows: rows.gatherRows,
  SpftGatherRowsGrad: rows.gatherRowsGrad,
  SpftGlobalNorm: optimizer.globalNorm,
  SpftGramScores: columns.gramScores,
  SpftGramScoresGrad: columns.gramScoresGrad,
  SpftJoinRows: rows.joinRows,
  SpftLinear: linear.linear,
  SpftLinearCrossEntropy: linearCrossEntropy,
  SpftLinearGrad: linear.linearGrad,
  SpftLinearKeptColumns: linear.linearKeptColumns,
  SpftLinearKeptColumnsGrad: linear.linearKeptColumnsGrad,
  SpftLinearKeptRows: linear.linearKeptRows,
  SpftLinearKeptRowsGrad: linear.linearKeptRowsGrad,
  SpftLoraLinear: lora.loraLinear,
  SpftLoraLinearGrad: lora.loraLinearGrad,
  SpftMaskColumns: columns.maskColumns,
  SpftPackedAttention: attention,
  SpftPackedAttentionGrad: attentionGrad,
  SpftRmsNorm: rows.rmsNorm,
  SpftRmsNormGrad: rows.rmsNormGrad,
  SpftRope: rows.rope,
  SpftScatterColumns: columns.scatterColumns,
  SpftSequenceMeans: columns.sequenceMeans,
  SpftSgd: optimizer.sgd,
  SpftSplitRows: rows.splitRows,
  SpftSwiglu: rows.swiglu,
  SpftSwigluGrad: rows.swigluGrad,
  SpftTopKSelection: columns.topKSelection,
  SpftTranspose2d: columns.transpose2d,
} satisfies { readonly [Name in KernelName]?: BlasKernel<Name> };
