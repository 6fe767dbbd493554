/** @file Evaluation from the command line. */
import type { EvaluationResult } from '@spft/trainer';
import { writePredictions } from '@spft/trainer/node';
import { loadAdapter } from '../steps/attach-adapter.js';
import { locateAdapter } from '../steps/locate-repo.js';
import { openBackend } from '../steps/open-backend.js';
import { openModel } from '../steps/open-model.js';
import { chooseTemplate, DEFAULT_TEMPLATE, openTemplate } from '../steps/template.js';
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
  readonly backend?: string;
}

export async function runEval(request: EvalRequest, output: Output): Promise<EvaluationResult[]> {
  const started = performance.now();
  const adapter = request.adapter === undefined ? undefined : await locateAdapter(request.adapter, output);
  const choice = await chooseTemplate(request.template, adapter, DEFAULT_TEMPLATE);
  const tasks = await openTasks(request.dataset, output, request.skipBadRows);
  await preparePath(request.json);
  await preparePath(request.predictions);
  const { name: backend } = await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  try {
    const peft = adapter === undefined ? null : await loadAdapter(opened, adapter, output, request);
    // Merged it computes the same, faster; the base is ours alone.
    peft?.merge({ reversible: false });
    try {
      const template = openTemplate(choice, opened.tokenizer);
      const results = await evaluateModel(opened, tasks, { ...request, template }, output);
      output.print(evaluationTable(results));
      if (request.predictions !== undefined) await writePredictions(request.predictions, results);
      const summary = {
        command: 'eval',
        model: request.modelNameOrPath,
        adapter: request.adapter ?? null,
        backend,
        template: template.name,
        evaluations: evaluationSummary(results),
        wallSeconds: (performance.now() - started) / 1000,
      };
      await writeJson(request.json, summary, output);
      return results;
    } finally {
      peft?.dispose();
    }
  } finally {
    opened.model.dispose();
  }
}
