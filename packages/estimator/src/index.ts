export { denseEstimator } from './builtin.js';
export { EstimatorError, PredictorError } from './errors.js';
export { fingerprintOf, type ModelFingerprint } from './fingerprint.js';
export { combineQueryKeyScores, outputColumns, queryChannels } from './head-channels.js';
export { buildPredictor, type LowRank, type LowRankOptions } from './low-rank.js';
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
  registerEstimator,
} from './registry.js';
export { isSparseStep, type RunPosition, type SparsitySchedule } from './schedule.js';
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
  type PredictorRequest,
  type PredictorSource,
  type SparsityAttachable,
  type SparsityConfig,
  SpftModel,
  type SpftOptions,
} from './spft-model.js';
export { type SvdOptions, svdEstimator } from './svd.js';
export { denseTokens, type TokenPolicy } from './token-policy.js';
export type * from './types.js';
