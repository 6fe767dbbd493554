/** @file The `spft` command as a function, and its steps for recipes of your own. */
export { CliError, isExpected, reportError } from './errors.js';
export { main } from './main.js';
export {
  type EvaluateModelOptions,
  evaluateModel,
  evaluationSummary,
  evaluationTable,
  openTasks,
} from './runs/evaluate-model.js';
export { RUN_FILE, type RunFile, readRunFile, writeRunFile } from './runs/run-file.js';
export type { TrainingRequest } from './runs/run-request.js';
export { runTraining, type TrainingRun } from './runs/run-training.js';
export { type AdapterKeys, loadAdapter, newAdapter } from './steps/attach-adapter.js';
export { attachSparsity, predictorCache, predictorPlace, readSparsity } from './steps/attach-sparsity.js';
export { openBackend } from './steps/open-backend.js';
export { openRecords, type TrainingRecords, tokenize } from './steps/open-data.js';
export { type OpenedModel, openModel } from './steps/open-model.js';
export { reportOf } from './steps/report-of.js';
export { methodName, runName } from './steps/run-name.js';
export { chooseTemplate, DEFAULT_TEMPLATE, NO_TEMPLATE, openTemplate, type TemplateChoice } from './steps/template.js';
export { type CliIo, processIo } from './terminal/io.js';
export { writeJson } from './terminal/json-file.js';
export { Output } from './terminal/output.js';
export { type Status, statusLine } from './terminal/status-line.js';
export { bytes, percent, table } from './terminal/table.js';
