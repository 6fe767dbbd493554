/** @file Predictors as an estimator asks for them: of which kind, and made of what. */
import { assertKnownOptions, type OptionNames } from '@spft/safetensors/internals';
import { calibratedPredictors } from './calibrated-predictor.js';
import { type CalibrationData, calibrate } from './calibration.js';
import { PredictorError } from './errors.js';
import { LOW_RANK_OPTIONS, type LowRankOptions } from './low-rank.js';
import {
  type BuildProgress,
  buildPredictors,
  type PredictedLayers,
  type Predictors,
  requireRankOfAll,
} from './predictors.js';
import type { PredictorKind } from './registry.js';
import type { SparsityHost } from './types.js';

/** What is asked of a source of predictors. */
export interface PredictorRequest {
  readonly host: SparsityHost;
  readonly layers: PredictedLayers;
  /** 0: norms alone. */
  readonly rank: number;
  /** What they are made of; from the weights alone where absent. */
  readonly kind?: PredictorKind;
  /** Data for calibrated ones. */
  readonly calibration?: CalibrationData;
  readonly onProgress?: (progress: BuildProgress) => void;
}

/** Where predictors come from; `predictorDirectory` of `@spft/estimator/node` finds them on disk and builds what is missing. */
export type PredictorSource = (request: PredictorRequest) => Promise<Predictors>;

const REQUEST: OptionNames<PredictorRequest> = {
  ...{ host: true, layers: true, rank: true },
  ...{ kind: true, calibration: true, onProgress: true },
};

/**
 * Predictors made anew, from the weights or from data.
 * @throws PredictorError when they are to be fitted to data and there are none, or the data do not do, or the rank exceeds a projection.
 */
export async function makePredictors(request: PredictorRequest, build: LowRankOptions = {}): Promise<Predictors> {
  assertKnownOptions('makePredictors', request, REQUEST);
  assertKnownOptions('makePredictors', build, LOW_RANK_OPTIONS);
  const { host, layers, rank, kind, calibration: data, onProgress } = request;
  if (!kind?.calibrated) return buildPredictors(host, layers, rank, { ...build, onProgress });
  if (data === undefined) {
    throw new PredictorError(
      'predictors of a calibrated mode are fitted to data, and none are given; pass getSpftModel `calibration` (--calibration FILE), or predictors that were ' +
        'built before (spft predictor build --calibration FILE)',
    );
  }
  // What goes through a model has more values than a weight, so a rank beyond the weight's would be found there: of noise.
  if (rank > 0) requireRankOfAll(host, layers, rank);
  const calibration = await calibrate(host, layers, data, {
    norms: kind.norms,
    onProgress: (done, total) => onProgress?.({ done, total: total * 2, name: 'calibration' }),
  });
  try {
    return await calibratedPredictors(host, layers, rank, calibration, { ...build, onProgress });
  } finally {
    calibration.dispose();
  }
}
