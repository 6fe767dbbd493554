export { cachedCompensation } from './cached-compensation.js';
export { cachedPredictors } from './cached-predictors.js';
export {
  type LoadOrBuildOptions,
  loadOrBuildPredictors,
  loadPredictors,
  PREDICTOR_CONFIG_FILE,
  predictorDirectory,
  savePredictors,
} from './storage.js';
