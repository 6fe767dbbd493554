/** @file What `getSpftModel` is given: the keys of a config that it obeys, and options beside them. */
import { SPARSITY_KEYS, type SpftConfig } from '@spft/config';
import type { OptionNames } from '@spft/safetensors/internals';
import type { CalibrationData } from './calibration.js';
import type { CompensationSource } from './compensation-request.js';
import type { PredictorSource } from './make-predictors.js';
import type { BuildProgress, Predictors } from './predictors.js';
import type { ShareScores } from './registry.js';
import type { Compat, SelectionListener } from './types.js';

/** The keys of a sparsity config that are obeyed here. */
export type SparsityConfig = Pick<
  SpftConfig,
  | 'mode'
  | 'sparsity'
  | 'startStep'
  | 'endStep'
  | 'skipOutputTokens'
  | 'skipSinkTokens'
  | 'skipRandomTokens'
  | 'sparseOutputTokens'
  | 'sparseLoraBranch'
  | 'qkPerHead'
  | 'qkvoSeqAvg'
  | 'mlpSeqAvg'
  | 'compat'
  | 'channelMultiple'
> &
  Partial<
    Pick<
      SpftConfig,
      | 'skipTailTokens'
      | 'scoreTokens'
      | 'scoreContextTokens'
      | 'selectionInterval'
      | 'denseEvery'
      | 'gradient'
      | 'compensationRank'
    >
  > & { readonly source?: SpftConfig['source'] };

export interface SpftOptions {
  /** Overrides the config's. */
  readonly compat?: Compat;
  /** Overrides the config's; kept counts are rounded up to a multiple of it. Default 16 on the `cuda` backend, 1 elsewhere. */
  readonly channelMultiple?: number;
  /** Predictors (taken over), or where they come from; default: built from the weights, in memory. */
  readonly predictors?: Predictors | PredictorSource;
  /** Data to which predictors of calibrated modes are fitted, where they have to be built. */
  readonly calibration?: CalibrationData;
  /** Where the maps of `compensation_rank` come from; default: fitted to `calibration`, in memory. */
  readonly compensation?: CompensationSource;
  /** Of several ranks: the channels are chosen by all of their tokens, and so the same on each. Default: each chooses by its own. */
  readonly shareScores?: ShareScores | undefined;
  readonly onProgress?: (progress: BuildProgress) => void;
  readonly listener?: SelectionListener;
}

/** Every key of a config, also those that are obeyed elsewhere. */
export const CONFIG_NAMES: OptionNames<SpftConfig> = {
  ...SPARSITY_KEYS,
  ...{ sparsity: true, predictorPath: true, baseModel: true, source: true },
};

export const SPFT_OPTION_NAMES: OptionNames<SpftOptions> = {
  ...{ compat: true, channelMultiple: true, predictors: true, calibration: true, compensation: true },
  ...{ shareScores: true, onProgress: true, listener: true },
};
