/**
 * @file Which kernel is whose: the names under which `@spft/sparse-ops` looks for kernels. Written out, as this package does not depend on it;
 * the file of each op there says which inputs, attributes and outputs its kernels have.
 */
import type { BlasKernel } from '../shared/call.js';
import { attention, attentionGrad } from './attention/packed-attention.js';
import { linearCrossEntropy } from './loss/linear-cross-entropy.js';
import * as rows from './norm/token-wise.js';
import * as linear from './project/linear.js';
import * as lora from './project/lora.js';
import * as columns from './select/columns.js';
import * as optimizer from './update/optimizer-update.js';

export const OP_KERNELS: Readonly<Record<string, BlasKernel<never>>> = {
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
};
