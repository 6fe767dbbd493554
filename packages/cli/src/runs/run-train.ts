/** @file Training from the command line: flags over file, then the run, then its result as table and JSON. */
import { join } from 'node:path';
import type { TrainConfig } from '@spft/config';
import { loadTrainConfig } from '@spft/config/node';
import { CliError } from '../errors.js';
import { onRanks } from '../steps/ranks.js';
import { SIGNAL_NUMBERS } from '../terminal/io.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';
import { bytes, percent, table } from '../terminal/table.js';
import { dryRun } from './dry-run.js';
import { evaluationSummary, evaluationTable } from './evaluate-model.js';
import { runEval } from './run-eval.js';
import { runMerge } from './run-merge.js';
import { ignoredKeys } from './run-request.js';
import { runTraining, type TrainingRun } from './run-training.js';

export interface TrainFlags {
  /** Training keys by their names in files. */
  readonly keys: Readonly<Record<string, string | boolean>>;
  readonly config?: string;
  readonly sparsityMode?: string;
  readonly template?: string;
  readonly validation?: string;
  readonly evalLimit?: number;
  readonly overwriteOutputDir?: boolean;
  readonly saveMerged?: boolean;
  readonly revision?: string;
  readonly json?: string;
  readonly dryRun?: boolean;
}

export async function runTrain(flags: TrainFlags, backend: string | undefined, output: Output): Promise<void> {
  const started = performance.now();
  const config = await loadTrainConfig(flags.config ?? null, flags.keys);
  for (const note of ignoredKeys(config)) output.warn(note);
  await preparePath(flags.json);
  if (config.evalOnly) {
    await evaluateOnly(config, flags, backend, output);
    return;
  }
  const request = {
    ...{ config, backend, flags: Object.keys(flags.keys), sparsityMode: flags.sparsityMode },
    ...{ template: flags.template, validation: flags.validation, evalLimit: flags.evalLimit },
    ...{ overwrite: flags.overwriteOutputDir, revision: flags.revision },
  };
  const done = await onRanks(output, async (ranks, output) => {
    if (flags.dryRun) {
      await dryRun({ ...request, ranks }, output);
      return null;
    }
    return { run: await runTraining({ ...request, ranks }, output), isFirst: (ranks?.rank ?? 0) === 0 };
  });
  if (done === null) return;
  const { run, isFirst } = done;
  if (!run.finished) {
    throw new CliError(
      `interrupted after step ${run.training.globalStep} of ${run.training.state.maxSteps}; checkpoint: ${run.lastCheckpoint}; ` +
        'go on with the same command and --resume_from_checkpoint true',
      { exitCode: 128 + (SIGNAL_NUMBERS[run.interruptedBy ?? 'SIGINT'] ?? 2), silent: !isFirst },
    );
  }
  if (!isFirst) return;
  output.print(resultTable(run));
  if (run.evaluations.length > 0) output.print(evaluationTable(run.evaluations));
  if (run.report !== null) output.note(`report: ${run.report}`);
  if (flags.saveMerged || /^wizardlm(=|$)/.test(config.dataset ?? '')) {
    const merged = join(run.outputDir, 'merged');
    const merging = { adapter: run.outputDir, out: merged, force: true, revision: flags.revision, backend };
    await runMerge({ modelNameOrPath: config.modelNameOrPath!, ...merging }, output);
  }
  await writeJson(flags.json, summaryOf(run, config, (performance.now() - started) / 1000), output);
}

async function evaluateOnly(config: TrainConfig, flags: TrainFlags, backend: string | undefined, output: Output) {
  const { modelNameOrPath, evalDataset, outputDir } = config;
  if (modelNameOrPath === null || evalDataset === null) {
    throw new CliError('eval_only needs --model and --eval_dataset; it evaluates the adapter in output_dir');
  }
  await runEval(
    {
      modelNameOrPath,
      adapter: outputDir,
      dataset: evalDataset,
      batchSize: config.perDeviceEvalBatchSize,
      limit: flags.evalLimit,
      template: flags.template,
      skipBadRows: config.skipBadRows,
      json: flags.json,
      revision: flags.revision,
      backend,
    },
    output,
  );
}

function resultTable(run: TrainingRun): string {
  const { secondsPerStep, tokensPerSecond } = run.training.speed;
  return table(
    ['method', 'steps', 'loss', 's/step', 'tokens/s', 'FLOPs', 'trainable', 'peak memory'],
    [
      [
        run.method,
        String(run.training.globalStep),
        run.training.trainLoss.toFixed(4),
        secondsPerStep?.toPrecision(3) ?? '',
        tokensPerSecond === null ? '' : Math.round(tokensPerSecond).toLocaleString('en'),
        percent(run.flopsShare),
        run.trainableParameters.toLocaleString('en'),
        bytes(run.peakMemoryBytes),
      ],
    ],
  );
}

function summaryOf(run: TrainingRun, config: TrainConfig, wallSeconds: number) {
  const { training } = run;
  const losses = training.state.logHistory.filter(({ loss }) => loss !== undefined);
  return {
    command: 'train',
    runName: run.name,
    method: run.method,
    backend: run.backend,
    model: config.modelNameOrPath,
    dataset: config.dataset,
    samples: run.samples,
    skippedRows: run.skippedRows,
    steps: training.globalStep,
    trainLoss: training.trainLoss,
    firstLoggedLoss: losses.at(0)?.loss ?? null,
    lastLoggedLoss: losses.at(-1)?.loss ?? null,
    secondsPerStep: training.speed.secondsPerStep,
    tokensPerSecond: training.speed.tokensPerSecond,
    flopsShare: run.flopsShare,
    trainableParameters: run.trainableParameters,
    peakMemoryBytes: run.peakMemoryBytes,
    evaluations: evaluationSummary(run.evaluations),
    outputDir: run.outputDir,
    lastCheckpoint: run.lastCheckpoint,
    report: run.report,
    wallSeconds,
  };
}
