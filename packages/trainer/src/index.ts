/** @file Public names, by file. What needs Node is in `@spft/trainer/node`. */

export { type CollatedBatch, type CollateOptions, collate, type DenseTokens } from './batch/collate.js';
export { batchInputs, batchOfInputs, padBatch } from './batch/padded-batch.js';
export { isSampleSource, type LazyCounts, LazySamples, type SampleSource } from './batch/sample-source.js';
export {
  countLabels,
  IGNORED_LABEL,
  type PreparedSample,
  type PreparedSamples,
  prepareSamples,
  type Sample,
  type SampleRules,
  samplesDigest,
} from './batch/samples.js';
export { type BatchSize, joinSizes, type StepShape, StepShapes, sizeOf } from './batch/step-shapes.js';
export {
  ARC_ANSWER,
  ARC_COLOURS,
  type ArcAnswer,
  type ArcPair,
  type ArcScore,
  type ArcTask,
  arcMessages,
  type Grid,
  gridOf,
  gridText,
  parseArcTask,
  parseGrid,
  sameGrid,
  scoreArc,
} from './benchmarks/arc.js';
export { type ArcRow, type AugmentOptions, arcRows } from './benchmarks/arc-augment.js';
export { type HumanEvalProblem, humanEvalPrompt, parseProblem, passAtK, programOf } from './benchmarks/human-eval.js';
export { firstBlock, INSTRUCTION_SETS, type InstructionSet } from './benchmarks/instruction-sets.js';
export {
  MT_BENCH_TEMPERATURES,
  type MtBenchJudgment,
  type MtBenchModel,
  type MtBenchQuestion,
  type MtBenchRule,
  mtBenchTable,
  parseJudgment,
  parseQuestion,
  ratingOf,
} from './benchmarks/mt-bench.js';
export { type MetricStatistics, statisticsByMetric, statisticsOf } from './benchmarks/run-statistics.js';
export { betterMetric } from './checkpoint/best-metric.js';
export {
  type DataIdentity,
  packCheckpoint,
  type RunParts,
  unpackCheckpoint,
  unpackVariables,
} from './checkpoint/checkpoint.js';
export type { ModelIdentity } from './checkpoint/identity.js';
export type { CheckpointEntry, CheckpointFiles, CheckpointStore } from './checkpoint/store.js';
export { DATASETS_URL, TRAINING_SET_NAMES } from './data/catalog.js';
export { type ChatPromptOptions, chatPromptTemplate } from './data/chat-prompt.js';
export { type ConversationMessage, type ConversationRecord, parseConversation } from './data/conversation.js';
export {
  type ColumnMap,
  type CompletionRecord,
  type DataRecord,
  isCompletion,
  isConversation,
  isInstruction,
  isText,
  parseColumnMap,
  parseDataRecord,
  RECORD_FIELDS,
  type RecordOptions,
  type TextRecord,
} from './data/data-record.js';
export { at, type BadRow, DatasetError, type RowSource } from './data/dataset-error.js';
export { isBuiltinTemplate, namedTemplate, type TemplateChoice } from './data/named-template.js';
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
export { type ReadmeConfig, type SplitChoice, splitFiles } from './data/split-files.js';
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
export { type AnswerRule, choiceAnswer, NUMBER_ANSWER, TRUTH_ANSWER } from './evaluation/answers.js';
export { evaluateLoss } from './evaluation/evaluate-loss.js';
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
export { classify, type GlueEvaluation } from './glue/evaluate.js';
export { type GlueExample, glueSample, parseGlueRow } from './glue/examples.js';
export { accuracy, f1, glueMetrics, matthewsCorrelation, pearson, spearman } from './glue/metrics.js';
export { GLUE_TASKS, type GlueMetric, type GlueTask, glueTask } from './glue/tasks.js';
export type { StepContext, TrainerCallback, TrainerContext } from './loop/callbacks.js';
export { DefaultFlowCallback } from './loop/flow-callback.js';
export { GradientSum, type LossAndGradients, lossAndGradients } from './loop/gradients.js';
export { createOptimizer, type Optimizer, type OptimizerArgs, type OptimizerStep } from './loop/optimizer.js';
export { seedFrom, shuffledOrder } from './loop/random.js';
export { RecordedSteps, type StepResult, type StepRules, type StepValues } from './loop/recorded-steps.js';
export { epochSteps, planRun, type RunPlan } from './loop/run-plan.js';
export {
  learningRateFactor,
  type Schedule,
  type ScheduleName,
  scheduleParameters,
  warmupSteps,
} from './loop/schedule.js';
export { type ScheduledSparsity, SpftCallback } from './loop/spft-callback.js';
export type { LogEntry, TrainerControl, TrainerState } from './loop/state.js';
export { median, StepClock, type StepSummary } from './loop/step-clock.js';
export { Trainer } from './loop/trainer.js';
export type { TrainerOptions, TrainOutput } from './loop/trainer-options.js';
export { resolveArgs, type StepArgs, stepsOf, type TrainingArgs } from './loop/training-args.js';
export { type CalibrationSamplesOptions, calibrationData, sampleEvenly } from './plan/calibration-data.js';
export { jumpWarning, type LossJump, lossJump } from './plan/loss-jump.js';
export { everyLayer, layersOf, type PlanRequest, planSparsity, type SparsityPlanning } from './plan/plan-sparsity.js';
export { type PlanTextFacts, planText } from './plan/plan-text.js';
export { renderPlan } from './plan/render-plan.js';
export { mostSaving, type PlanOption, type SolvedPlan, solvePlan } from './plan/solve-plan.js';
export { metricNames } from './record/metric-names.js';
export { type MetricSink, ModuleStatistics } from './record/module-statistics.js';
export {
  clockTime,
  ProgressCallback,
  type ProgressSink,
  type ProgressUpdate,
  progressLine,
} from './record/progress.js';
export {
  type LayerStatistics,
  type PartStatistics,
  SPARSE_PARTS,
  type SparsePart,
  type SparsityMap,
} from './record/sparsity-map.js';
export {
  type ListenablePlan,
  SparsityStatistics,
  type SparsityStatisticsOptions,
} from './record/sparsity-statistics.js';
export type { ReportData, ReportMethod } from './report/data.js';
export { renderReport } from './report/render-report.js';
