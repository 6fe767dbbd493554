/** @file `@spft/trainer/benchmarks`: what GLUE, ARC-AGI, HumanEval and MT-Bench ask, and how answers are scored. */

export { classify, type GlueEvaluation } from '../glue/evaluate.js';
export { type GlueExample, glueSample, parseGlueRow } from '../glue/examples.js';
export { accuracy, f1, glueMetrics, matthewsCorrelation, pearson, spearman } from '../glue/metrics.js';
export { GLUE_TASKS, type GlueMetric, type GlueTask, glueTask } from '../glue/tasks.js';
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
} from './arc.js';
export { type ArcRow, type AugmentOptions, arcRows } from './arc-augment.js';
export { type HumanEvalProblem, humanEvalPrompt, parseProblem, passAtK, programOf } from './human-eval.js';
export { firstBlock, INSTRUCTION_SETS, type InstructionSet } from './instruction-sets.js';
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
} from './mt-bench.js';
export { type MetricStatistics, statisticsByMetric, statisticsOf } from './run-statistics.js';
export {
  BOOTSTRAP,
  type BootstrapOptions,
  type SpeedRatio,
  type SpeedStatistics,
  type StepSeconds,
  speedRatio,
  speedStatistics,
} from './speed.js';
