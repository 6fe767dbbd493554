export { denseEstimator, randomEstimator } from './builtin.js';
export {
  buildCalibratedPredictor,
  type CalibratedBuildOptions,
  calibratedPredictors,
} from './calibrated-predictor.js';
export { type Calibration, type CalibrationData, type CalibrationOptions, calibrate } from './calibration.js';
export {
  type CompensationLevels,
  type CompensationOptions,
  type CompensationTable,
  disposeCompensation,
  disposeCompensationTable,
  fitCompensation,
  fitCompensationLevels,
} from './compensation.js';
export type { CompensationRequest, CompensationSource } from './compensation-request.js';
export { EstimatorError, PredictorError } from './errors.js';
export { fingerprintOf, type ModelFingerprint, tensorsDigest } from './fingerprint.js';
export { combineQueryKeyScores, outputColumns, queryChannels } from './head-channels.js';
export { buildPredictor, type LowRank, type LowRankOptions } from './low-rank.js';
export { makePredictors, type PredictorRequest, type PredictorSource } from './make-predictors.js';
export { type AttentionOracle, type MlpOracle, type OracleRules, oracleEstimator, parseOracle } from './oracle.js';
export {
  assertPredictorShapes,
  assertPredictorsOf,
  missingProjections,
  type PredictorDemands,
} from './predictor-check.js';
export {
  type PredictorDtype,
  predictorTensors,
  type ReadPredictorOptions,
  readPredictors,
} from './predictor-tensors.js';
export {
  type BuildOptions,
  type BuildProgress,
  buildPredictors,
  type CalibrationRecord,
  type LayerPredictors,
  type PredictedLayers,
  type PredictedShape,
  Predictors,
  predictedProjections,
  predictorBytes,
  projectionShape,
} from './predictors.js';
export {
  assertKnownMode,
  createEstimator,
  type EstimatorFactory,
  type EstimatorRequest,
  knownModes,
  type ModeDescription,
  type PredictorKind,
  registerEstimator,
  type ShareScores,
} from './registry.js';
export { reusingEstimator } from './reuse.js';
export { isSparseStep, type RunPosition, type SparsitySchedule, sparseShareOfSteps } from './schedule.js';
export { contextRows, type ScoreRows, scoreRows, spacedRows } from './score-rows.js';
export {
  type AttentionScores,
  type Scores,
  type ScoringFunctions,
  type SelectionRules,
  scoringEstimator,
} from './scoring.js';
export { keptPerHead, selectChannels, selectChannelsPerHead } from './select-channels.js';
export {
  getSpftModel,
  type LayerSummary,
  type ModuleSummary,
  type SparsityAttachable,
  SpftModel,
} from './spft-model.js';
export type { SparsityConfig, SpftOptions } from './spft-options.js';
export { SCORE_TOKENS, type SvdOptions, staticEstimator, svdEstimator } from './svd.js';
export { denseTokens, type TokenPolicy } from './token-policy.js';
export type * from './types.js';
