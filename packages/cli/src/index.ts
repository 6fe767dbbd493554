/** @file The `spft` command as a function, and its steps for recipes of your own. */
export { CliError, isExpected, reportError } from './errors.js';
export {
  type EvaluateModelOptions,
  evaluateModel,
  evaluationSummary,
  evaluationTable,
  openTasks,
} from './evaluate-model.js';
export { type CliIo, processIo } from './io.js';
export { writeJson } from './json-file.js';
export { main } from './main.js';
export { Output } from './output.js';
export { RUN_FILE, type RunFile, readRunFile, writeRunFile } from './run-file.js';
export type { TrainingRequest } from './run-request.js';
export { runTraining, type TrainingRun } from './run-training.js';
export { type Status, statusLine } from './status-line.js';
export { type AdapterKeys, loadAdapter, newAdapter } from './steps/attach-adapter.js';
export { attachSparsity, predictorCache, predictorPlace, readSparsity } from './steps/attach-sparsity.js';
export { openBackend } from './steps/open-backend.js';
export { openRecords, type TrainingRecords, tokenize } from './steps/open-data.js';
export { type OpenedModel, openModel } from './steps/open-model.js';
export { reportOf } from './steps/report-of.js';
export { methodName, runName } from './steps/run-name.js';
export { chooseTemplate, DEFAULT_TEMPLATE, NO_TEMPLATE, openTemplate, type TemplateChoice } from './steps/template.js';
export { bytes, percent, table } from './table.js';
