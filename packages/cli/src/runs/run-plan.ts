/** @file Planning a sparsity file from the command line. */
import { existsSync } from 'node:fs';
import { loadTrainConfig } from '@spft/config/node';
import { writeFileAtomically } from '@spft/safetensors/node';
import { renderPlan, type Stopwatch } from '@spft/trainer';
import { CliError } from '../errors.js';
import { newAdapter } from '../steps/attach-adapter.js';
import { openBackend } from '../steps/open-backend.js';
import { openRecords, templateForRecords, tokenize } from '../steps/open-data.js';
import { openModel } from '../steps/open-model.js';
import { planFor } from '../steps/plan.js';
import { DEFAULT_TEMPLATE, knownTemplate } from '../steps/template.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';

export interface PlanCommand {
  readonly modelNameOrPath: string;
  readonly dataset: string;
  readonly out: string;
  readonly flops?: number;
  readonly time?: number;
  readonly maxLoss?: number;
  readonly estimator?: string;
  readonly levels?: readonly number[];
  readonly tails?: readonly number[];
  readonly samples?: number;
  readonly compensationRank?: number;
  /** Which steps are sparse, as shares of the run. */
  readonly startStep?: number;
  readonly endStep?: number;
  /** Training file whose adapter and batch the FLOPs are counted for. */
  readonly config?: string;
  /** Over the training file's. */
  readonly loraR?: number;
  readonly loraTargetModules?: string;
  readonly template?: string;
  readonly modelMaxLength?: number;
  readonly overwrite?: boolean;
  readonly revision?: string;
  readonly json?: string;
  readonly backend?: string;
  readonly freshTimes?: boolean;
  /** Who tells times; by default this machine's clock. */
  readonly stopwatch?: Stopwatch;
}

export async function runPlan(request: PlanCommand, output: Output): Promise<void> {
  const { stopwatch, freshTimes } = request;
  const { out, flops, time, maxLoss, estimator, levels, tails, samples: count } = request;
  if ([flops, time, maxLoss].filter((budget) => budget !== undefined).length !== 1) {
    throw new CliError('a plan needs a budget: --flops SHARE, --time SHARE or --max_loss RISE, one of them');
  }
  const { startStep, endStep } = request;
  const schedule = { ...(startStep === undefined ? {} : { startStep }), ...(endStep === undefined ? {} : { endStep }) };
  const page = `${out.replace(/\.(ya?ml|json)$/, '')}.html`;
  for (const path of [out, page]) {
    if (existsSync(path) && !request.overwrite) {
      throw new CliError(`${path}: is there already; name another --out, or give --overwrite`);
    }
  }
  const train = await loadTrainConfig(request.config ?? null, {
    dataset: request.dataset,
    ...(request.modelMaxLength === undefined ? {} : { model_max_length: String(request.modelMaxLength) }),
    ...(request.loraR === undefined ? {} : { lora_r: String(request.loraR) }),
    ...(request.loraTargetModules === undefined ? {} : { lora_target_modules: request.loraTargetModules }),
  });
  await preparePath(out);
  await preparePath(request.json);
  const records = await openRecords(request.dataset, train, undefined, output);
  await openBackend(request.backend, output);
  const opened = await openModel(request.modelNameOrPath, output, { revision: request.revision });
  try {
    const asked = { name: knownTemplate(request.template ?? DEFAULT_TEMPLATE.name), format: train.chatTemplateFormat };
    const isNamed = request.template !== undefined;
    const choice = templateForRecords(records.train, { template: asked, isNamed }, opened.tokenizer, output);
    const samples = await tokenize(records.train, opened, choice, train, output);
    const peft = newAdapter(opened, train, output);
    try {
      const { planning, facts, text } = await planFor(
        {
          peft,
          opened,
          samples,
          train,
          flops,
          time,
          maxLoss,
          estimator,
          levels,
          tails,
          count,
          compensationRank: request.compensationRank,
          schedule,
          stopwatch,
          freshTimes,
        },
        output,
      );
      await writeFileAtomically(page, (handle) => handle.writeFile(renderPlan(planning, facts)));
      await writeFileAtomically(out, (handle) => handle.writeFile(text));
      const runTime = planning.runTime === null ? '' : ` and ${(100 * planning.runTime).toFixed(1)} % of the time`;
      output.print(`${out}: ${(100 * planning.runFlops).toFixed(1)} % of the FLOPs${runTime}; the map: ${page}`);
      const { sparsity, sensitivity, layerTimes, tails: found, ...numbers } = planning;
      await writeJson(
        request.json,
        {
          ...{ ...numbers, out, page, mode: facts.mode, compensationRank: facts.compensationRank },
          ...{ sparsity: Object.fromEntries(sparsity), tails: Object.fromEntries(found) },
          sensitivity: objectOf(sensitivity),
          layerTimes: layerTimes && objectOf(layerTimes),
        },
        output,
      );
    } finally {
      peft.dispose();
    }
  } finally {
    opened.model.dispose();
  }
}

const objectOf = (table: ReadonlyMap<string, ReadonlyMap<number, number>>) =>
  Object.fromEntries([...table].map(([module, values]) => [module, Object.fromEntries(values)]));
