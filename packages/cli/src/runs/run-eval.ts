/** @file Evaluation from the command line. */
import type { SpftConfig } from '@spft/config';
import { loadSpftConfig, loadTrainConfig } from '@spft/config/node';
import { assertKnownMode, type CalibrationData, type SpftModel } from '@spft/estimator';
import type { EvaluationResult } from '@spft/trainer';
import { writePredictions } from '@spft/trainer/node';
import { CliError } from '../errors.js';
import { loadAdapter } from '../steps/attach-adapter.js';
import { attachSparsity, calibrationOf } from '../steps/attach-sparsity.js';
import { locateAdapter, locateSparsity } from '../steps/locate-repo.js';
import { openBackend } from '../steps/open-backend.js';
import { openRecords, tokenize } from '../steps/open-data.js';
import { type OpenedModel, openModel } from '../steps/open-model.js';
import { chooseTemplate, DEFAULT_TEMPLATE, openTemplate, type TemplateChoice } from '../steps/template.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';
import { evaluateModel, evaluationSummary, evaluationTable, openTasks } from './evaluate-model.js';

export interface EvalRequest {
  readonly modelNameOrPath: string;
  readonly adapter?: string;
  readonly dataset: string;
  readonly limit?: number;
  readonly seed?: number;
  readonly batchSize?: number;
  readonly maxNewTokens?: number;
  readonly template?: string;
  readonly skipBadRows?: boolean;
  readonly json?: string;
  readonly predictions?: string;
  readonly revision?: string;
  readonly allowOtherBase?: boolean;
  /** Sparsity file by which the questions are read. */
  readonly sparsity?: string;
  /** Data to which predictors of calibrated modes are fitted. */
  readonly calibration?: string;
  readonly modelMaxLength?: number;
  readonly backend?: string;
}

export async function runEval(request: EvalRequest, output: Output): Promise<EvaluationResult[]> {
  const started = performance.now();
  const adapter = request.adapter === undefined ? undefined : await locateAdapter(request.adapter, output);
  const choice = await chooseTemplate(request.template, adapter, DEFAULT_TEMPLATE);
  if (request.sparsity === undefined && request.calibration !== undefined)
    throw new CliError('--calibration fits the predictors of a sparsity file; give --sparsity FILE, or leave it out');
  const config = request.sparsity === undefined ? null : await readSparsityFile(request.sparsity, output);
  const tasks = await openTasks(request.dataset, output, request.skipBadRows);
  await preparePath(request.json);
  await preparePath(request.predictions);
  const { name: backend } = await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  try {
    const peft =
      adapter === undefined
        ? null
        : await loadAdapter(opened, adapter, output, { allowOtherBase: request.allowOtherBase });
    const template = openTemplate(choice, opened.tokenizer);
    let spft: SpftModel | null = null;
    try {
      if (config === null) {
        // Merged it computes the same, faster; the base is ours alone.
        peft?.merge({ reversible: false });
      } else {
        const calibration = await calibrationFor(opened, config, choice, request, output);
        spft = await attachSparsity(peft ?? opened.model, opened, config, output, calibration);
      }
      const { batchSize, maxNewTokens, limit, seed } = request;
      const reading = spft && { densePromptTokens: spft.densePromptTokens };
      const asked = { template, batchSize, maxNewTokens, limit, seed, ...reading };
      const results = await evaluateModel(opened, tasks, asked, output);
      output.print(evaluationTable(results));
      if (request.predictions !== undefined) await writePredictions(request.predictions, results);
      const summary = {
        command: 'eval',
        model: request.modelNameOrPath,
        adapter: request.adapter ?? null,
        sparsity: request.sparsity ?? null,
        backend,
        template: template.name,
        evaluations: evaluationSummary(results),
        wallSeconds: (performance.now() - started) / 1000,
      };
      await writeJson(request.json, summary, output);
      return results;
    } finally {
      spft?.dispose();
      peft?.dispose();
    }
  } finally {
    opened.model.dispose();
  }
}

async function readSparsityFile(path: string, output: Output): Promise<SpftConfig> {
  const config = await loadSpftConfig(await locateSparsity(path, output));
  assertKnownMode(config.mode);
  return config;
}

/** Null where the file's mode needs no data, or none was given: then its predictors have to be there. */
async function calibrationFor(
  opened: OpenedModel,
  config: SpftConfig,
  template: TemplateChoice,
  { calibration, modelMaxLength = 512 }: EvalRequest,
  output: Output,
): Promise<CalibrationData | undefined> {
  if (calibration === undefined) return undefined;
  const { train } = await openRecords(calibration, await loadTrainConfig(null, {}), undefined, output);
  const samples = await tokenize(train, opened, template, { modelMaxLength }, output);
  return calibrationOf(opened, samples, config);
}
