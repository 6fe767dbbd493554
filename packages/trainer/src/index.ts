/** @file Public names, by file. What needs Node is in `@spft/trainer/node`. */
export { betterMetric } from './best-metric.js';
export type { StepContext, TrainerCallback, TrainerContext } from './callbacks.js';
export {
  type CheckpointEntry,
  type CheckpointFiles,
  type CheckpointStore,
  type DataIdentity,
  packCheckpoint,
  type RunParts,
  unpackCheckpoint,
  unpackVariables,
} from './checkpoint.js';
export { type CollatedBatch, type CollateOptions, collate, type DenseTokens } from './collate.js';
export { DATASETS_URL, TRAINING_SET_NAMES } from './data/catalog.js';
export { type ChatPromptOptions, chatPromptTemplate } from './data/chat-prompt.js';
export { type BadRow, DatasetError, type RowSource } from './data/dataset-error.js';
export {
  ALPACA_TEMPLATE,
  PLAIN_TEMPLATE,
  type PromptFields,
  type PromptTemplate,
  promptTemplate,
  promptTemplateNames,
  registerPromptTemplate,
  SPARSELORA_TEMPLATE,
  type TemplateTexts,
  textTemplate,
} from './data/prompt.js';
export { type InstructionRecord, parseRecord, type ResponseField, responseOf } from './data/record.js';
export { type Split, splitDataset, subset } from './data/split.js';
export {
  type TokenizeAllOptions,
  type TokenizedRecords,
  type TokenizedSample,
  type TokenizeOptions,
  tokenizePrompt,
  tokenizeRecord,
  tokenizeRecords,
} from './data/tokenize.js';
export { NonFiniteError, type NonFinitePlace, TrainerError, type TrainerErrorReason } from './errors.js';
export { evaluateLoss } from './evaluate.js';
export { type AnswerRule, choiceAnswer, NUMBER_ANSWER, TRUTH_ANSWER } from './evaluation/answers.js';
export {
  type EvaluateOptions,
  type EvaluationProgress,
  type EvaluationResult,
  evaluateTask,
  type GeneratorOptions,
  type Prediction,
  type TokenGenerator,
} from './evaluation/evaluate-task.js';
export {
  type EvaluationExample,
  type EvaluationTask,
  findTaskKind,
  TASK_KINDS,
  type TaskKind,
  taskKind,
} from './evaluation/tasks.js';
export { DefaultFlowCallback } from './flow-callback.js';
export { GradientSum, type LossAndGradients, lossAndGradients } from './gradients.js';
export { createOptimizer, type Optimizer, type OptimizerArgs, type OptimizerStep } from './optimizer.js';
export { clockTime, ProgressCallback, type ProgressSink, type ProgressUpdate, progressLine } from './progress.js';
export { seedFrom, shuffledOrder } from './random.js';
export type { ReportData, ReportMethod } from './report/data.js';
export { renderReport } from './report/render-report.js';
export { epochSteps, planRun, type RunPlan } from './run-plan.js';
export {
  countLabels,
  IGNORED_LABEL,
  type PreparedSample,
  type PreparedSamples,
  prepareSamples,
  type Sample,
  type SampleRules,
  samplesDigest,
} from './samples.js';
export { learningRateFactor, type Schedule, type ScheduleName, warmupSteps } from './schedule.js';
export {
  type LayerStatistics,
  type PartStatistics,
  SPARSE_PARTS,
  type SparsePart,
  type SparsityMap,
} from './sparsity-map.js';
export { type ListenablePlan, SparsityStatistics, type SparsityStatisticsOptions } from './sparsity-statistics.js';
export { type ScheduledSparsity, SpftCallback } from './spft-callback.js';
export type { LogEntry, TrainerControl, TrainerState } from './state.js';
export { median, StepClock, type StepSummary } from './step-clock.js';
export { Trainer } from './trainer.js';
export type { TrainerOptions, TrainOutput } from './trainer-options.js';
export { resolveArgs, type TrainingArgs } from './training-args.js';
