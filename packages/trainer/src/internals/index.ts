/** @file `@spft/trainer/internals`: what other packages of spft need of this one. It may change with any version. */
export { batchInputs, batchOfInputs, padBatch } from '../batch/padded-batch.js';
export { isSampleSource, type LazyCounts, LazySamples } from '../batch/sample-source.js';
export {
  countLabels,
  type PreparedSample,
  type PreparedSamples,
  prepareSamples,
  type SampleRules,
  samplesDigest,
} from '../batch/samples.js';
export { type BatchSize, joinSizes, type StepShape, StepShapes, sizeOf } from '../batch/step-shapes.js';
export { betterMetric } from '../checkpoint/best-metric.js';
export {
  checkpointAccumulation,
  type DataIdentity,
  packCheckpoint,
  type RunParts,
  unpackCheckpoint,
  unpackVariables,
} from '../checkpoint/checkpoint.js';
export type { ModelIdentity } from '../checkpoint/identity.js';
export { DATASETS_URL } from '../data/catalog.js';
export {
  isCompletion,
  isConversation,
  isInstruction,
  isText,
  parseColumnMap,
  RECORD_FIELDS,
} from '../data/data-record.js';
export { at } from '../data/dataset-error.js';
export { isBuiltinTemplate, namedTemplate, type TemplateChoice } from '../data/named-template.js';
export { responseOf } from '../data/record.js';
export { subset } from '../data/split.js';
export { type ReadmeConfig, type SplitChoice, splitFiles } from '../data/split-files.js';
export { findTaskKind, taskKind } from '../evaluation/tasks.js';
export { DefaultFlowCallback } from '../loop/flow-callback.js';
export { GradientSum, type LossAndGradients, lossAndGradients } from '../loop/gradients.js';
export { createOptimizer, type Optimizer, type OptimizerArgs, type OptimizerStep } from '../loop/optimizer.js';
export { seedFrom, shuffledOrder } from '../loop/random.js';
export { broadcastJson, gatherJson } from '../loop/ranks.js';
export { epochSteps, planRun, type RunPlan } from '../loop/run-plan.js';
export { learningRateFactor, type Schedule, warmupSteps } from '../loop/schedule.js';
export { median, StepClock, type StepSummary } from '../loop/step-clock.js';
export { resolveArgs } from '../loop/training-args.js';
export { type CountedSparsity, sparsityFlops } from '../plan/flops-method.js';
export { progressLine } from '../record/progress.js';
export { type LayerStatistics, type PartStatistics, SPARSE_PARTS } from '../record/sparsity-map.js';
export type { ListenablePlan } from '../record/sparsity-statistics.js';
