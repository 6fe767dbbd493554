/**
 * @file Every kernel of spft's ops that this backend has, by its name in the contract of `@spft/sparse-ops`. Types alone come from there, as this
 * package does not depend on it: a name, input, attribute or output that is not the contract's does not compile, and a test holds what is
 * registered against the contract itself.
 */
import type { KernelName } from '@spft/sparse-ops/backend';
import type { BlasKernel } from '../shared/call.js';
import { attention, attentionGrad } from './attention/packed-attention.js';
import { rope } from './attention/rope.js';
import { columnDots } from './engine/column-dots.js';
import { transpose2d } from './engine/transpose.js';
import { linear4bit, linear4bitGrad, unpack4bit, unpack4bitColumns, unpack4bitRows } from './forms/four-bit.js';
import { linearCrossEntropy } from './loss/linear-cross-entropy.js';
import { gatedMlp, gatedMlpGrad } from './mlp/gated-mlp.js';
import { swiglu, swigluGrad } from './mlp/swiglu.js';
import { rmsNorm, rmsNormGrad, rmsNormResidualGrad } from './norm/rms-norm.js';
import { doraLinear, doraLinearGrad, doraNorms } from './project/dora-linear.js';
import { dropout } from './project/dropout.js';
import { linear, linearGrad } from './project/linear.js';
import { linearKeptColumns, linearKeptColumnsGrad } from './project/linear-kept-columns.js';
import { linearKeptRows, linearKeptRowsGrad } from './project/linear-kept-rows.js';
import { loraLinear, loraLinearGrad } from './project/lora-linear.js';
import { projectColumns, projectColumnsGrad } from './project/project-columns.js';
import { projectRows, projectRowsGrad } from './project/project-rows.js';
import { columnNorms } from './select/column-norms.js';
import { gatedScores } from './select/gated-scores.js';
import { gatedSelection } from './select/gated-selection.js';
import { gatherColumns, gatherColumnsTransposed } from './select/gather-columns.js';
import { gramScores, gramScoresGrad, gramScoresOfAll } from './select/gram-scores.js';
import { maskColumns } from './select/mask-columns.js';
import { combineQueryKeyScores, queryChannels } from './select/query-channels.js';
import { scatterColumns } from './select/scatter-columns.js';
import { topKSelection } from './select/top-k-selection.js';
import { gatherRows, gatherRowsGrad } from './tokens/gather-rows.js';
import { sequenceMeans } from './tokens/sequence-means.js';
import { joinRows, splitRows } from './tokens/split-rows.js';
import { adamw8bit } from './update/adamw-8bit.js';
import { globalNorm } from './update/global-norm.js';
import { adamw, sgd } from './update/optimizer-update.js';

export const SPFT_KERNELS = {
  SpftAdamw: adamw,
  SpftAdamw8bit: adamw8bit,
  SpftColumnDots: columnDots,
  SpftColumnNorms: columnNorms,
  SpftCombineQueryKeyScores: combineQueryKeyScores,
  SpftDoraLinear: doraLinear,
  SpftDoraLinearGrad: doraLinearGrad,
  SpftDoraNorms: doraNorms,
  SpftDropout: dropout,
  SpftGatedMlp: gatedMlp,
  SpftGatedMlpGrad: gatedMlpGrad,
  SpftGatedScores: gatedScores,
  SpftGatedSelection: gatedSelection,
  SpftGatherColumns: gatherColumns,
  SpftGatherColumnsTransposed: gatherColumnsTransposed,
  SpftGatherRows: gatherRows,
  SpftGatherRowsGrad: gatherRowsGrad,
  SpftGlobalNorm: globalNorm,
  SpftGramScores: gramScores,
  SpftGramScoresGrad: gramScoresGrad,
  SpftGramScoresOfAll: gramScoresOfAll,
  SpftJoinRows: joinRows,
  SpftLinear: linear,
  SpftLinear4bit: linear4bit,
  SpftLinear4bitGrad: linear4bitGrad,
  SpftLinearCrossEntropy: linearCrossEntropy,
  SpftLinearGrad: linearGrad,
  SpftLinearKeptColumns: linearKeptColumns,
  SpftLinearKeptColumnsGrad: linearKeptColumnsGrad,
  SpftLinearKeptRows: linearKeptRows,
  SpftLinearKeptRowsGrad: linearKeptRowsGrad,
  SpftLoraLinear: loraLinear,
  SpftLoraLinearGrad: loraLinearGrad,
  SpftMaskColumns: maskColumns,
  SpftPackedAttention: attention,
  SpftPackedAttentionGrad: attentionGrad,
  SpftProjectColumns: projectColumns,
  SpftProjectColumnsGrad: projectColumnsGrad,
  SpftProjectRows: projectRows,
  SpftProjectRowsGrad: projectRowsGrad,
  SpftQueryChannels: queryChannels,
  SpftRmsNorm: rmsNorm,
  SpftRmsNormGrad: rmsNormGrad,
  SpftRmsNormResidualGrad: rmsNormResidualGrad,
  SpftRope: rope,
  SpftScatterColumns: scatterColumns,
  SpftSequenceMeans: sequenceMeans,
  SpftSgd: sgd,
  SpftSplitRows: splitRows,
  SpftSwiglu: swiglu,
  SpftSwigluGrad: swigluGrad,
  SpftTopKSelection: topKSelection,
  SpftTranspose2d: transpose2d,
  SpftUnpack4bit: unpack4bit,
  SpftUnpack4bitColumns: unpack4bitColumns,
  SpftUnpack4bitRows: unpack4bitRows,
} satisfies { readonly [Name in KernelName]?: BlasKernel<Name> };
