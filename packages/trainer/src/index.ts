/** @file Public names, by file. What needs Node is in `@spft/trainer/node`. */

export { type CollatedBatch, type CollateOptions, collate, type DenseTokens } from './batch/collate.js';
export type { SampleSource } from './batch/sample-source.js';
export { IGNORED_LABEL, type Sample } from './batch/samples.js';
export type { CheckpointEntry, CheckpointFiles, CheckpointStore } from './checkpoint/store.js';
export { TRAINING_SET_NAMES } from './data/catalog.js';
export { type ChatPromptOptions, chatPromptTemplate } from './data/chat-prompt.js';
export { type ConversationMessage, type ConversationRecord, parseConversation } from './data/conversation.js';
export {
  type ColumnMap,
  type CompletionRecord,
  type DataRecord,
  parseDataRecord,
  type RecordOptions,
  type TextRecord,
} from './data/data-record.js';
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
export { type InstructionRecord, parseRecord, type ResponseField } from './data/record.js';
export { type RecordsOfTextOptions, recordsOfText } from './data/records-of-text.js';
export { type Split, splitDataset } from './data/split.js';
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
export { type EvaluationExample, type EvaluationTask, TASK_KINDS, type TaskKind } from './evaluation/tasks.js';
export type { StepContext, TrainerCallback, TrainerContext } from './loop/callbacks.js';
export type { PendingSum, Ranks } from './loop/ranks.js';
export { RecordedSteps, type StepResult, type StepRules, type StepValues } from './loop/recorded-steps.js';
export { type ScheduleName, scheduleParameters } from './loop/schedule.js';
export { type ScheduledSparsity, SpftCallback } from './loop/spft-callback.js';
export type { LogEntry, TrainerControl, TrainerState } from './loop/state.js';
export { Trainer } from './loop/trainer.js';
export type { TrainerOptions, TrainOutput } from './loop/trainer-options.js';
export { type StepArgs, stepsOf, type TrainingArgs } from './loop/training-args.js';
export {
  type CalibrationSamplesOptions,
  calibrationData,
  chooseOutlierChannels,
  sampleEvenly,
} from './plan/calibration-data.js';
export { jumpWarning, type LossJump, lossJump } from './plan/loss-jump.js';
export {
  type LayerSparsities,
  StepTimer,
  type StepTimerOptions,
  type Stopwatch,
  type TimedWork,
} from './plan/measure-times.js';
export { layersOf, type MeasurementsRequest, TIMES } from './plan/plan-measurements.js';
export {
  everyLayer,
  PLAN_LEVELS,
  type PlanRequest,
  planSparsity,
  type SparsityPlanning,
} from './plan/plan-sparsity.js';
export { type PlanTextFacts, planText, stepShares, timeVerdict } from './plan/plan-text.js';
export { renderPlan } from './plan/render-plan.js';
export { mostSaving, type PlanOption, type SolvedPlan, solvePlan } from './plan/solve-plan.js';
export { type JointTime, type LayerTime, type SparseModule, type StepTimes, TimeModel } from './plan/time-model.js';
export type { PlanBudget } from './plan/unmet-budget.js';
export { metricNames } from './record/metric-names.js';
export { type MetricSink, ModuleStatistics } from './record/module-statistics.js';
export { clockTime, ProgressCallback, type ProgressSink, type ProgressUpdate } from './record/progress.js';
export type { SparsePart, SparsityMap } from './record/sparsity-map.js';
export { SparsityStatistics, type SparsityStatisticsOptions } from './record/sparsity-statistics.js';
export { type Bar, barChart } from './report/bar-chart.js';
export type { ReportData, ReportMethod } from './report/data.js';
export { type ChartOptions, lineChart, type Point, type Series } from './report/line-chart.js';
export { renderReport } from './report/render-report.js';
export { sparsityMap } from './report/sparsity-map.js';
export { STYLE as REPORT_STYLE } from './report/style.js';
