/** @file The errors of this package: what was wanted, what was found, what to do. */

/** A mode, a layer pattern or a plan that does not fit the model. */
export class EstimatorError extends Error {
  override readonly name = 'EstimatorError';
  readonly code = 'SPFT_ESTIMATOR';
}

/** Predictors that are missing, unreadable, or made for something else. */
export class PredictorError extends Error {
  override readonly name = 'PredictorError';
  readonly code = 'SPFT_PREDICTOR';
}
