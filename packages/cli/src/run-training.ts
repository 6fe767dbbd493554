/**
 * @file A training run from top to bottom: read, open, attach, train, save, evaluate, report. What `spft train` does, for recipes too.
 *
 * Nothing is written before everything that was given has been read and fits together.
 */
import { join, resolve } from 'node:path';
import { SpftConfig, trainConfigToObject } from '@spft/config';
import { adapterConfigText, adapterToSafetensors } from '@spft/peft';
import { ADAPTER_CONFIG_FILE, ADAPTER_MODEL_FILE, savePretrained } from '@spft/peft/node';
import {
  type CheckpointStore,
  type EvaluationResult,
  type SparsityMap,
  SparsityStatistics,
  SpftCallback,
  Trainer,
  type TrainerCallback,
  type TrainOutput,
} from '@spft/trainer';
import { directoryCheckpoints, JsonlLogger, terminalProgress, writeMetrics, writeReport } from '@spft/trainer/node';
import { CliError, messageOf } from './errors.js';
import { evaluateModel, openTasks } from './evaluate-model.js';
import type { Output } from './output.js';
import { writeRunFile } from './run-file.js';
import { checkRequest, type TrainingRequest } from './run-request.js';
import { newAdapter } from './steps/attach-adapter.js';
import { attachSparsity, readSparsity } from './steps/attach-sparsity.js';
import { untilInterrupted } from './steps/interrupt.js';
import { openBackend } from './steps/open-backend.js';
import { openRecords, tokenize } from './steps/open-data.js';
import { openModel } from './steps/open-model.js';
import { prepareDirectory, refuseOtherRun } from './steps/output-directory.js';
import { reportOf } from './steps/report-of.js';
import { runFlopsShare } from './steps/run-flops.js';
import { methodName, runName } from './steps/run-name.js';
import { DEFAULT_TEMPLATE, openTemplate } from './steps/template.js';
import { VERSION } from './version.js';

export type { TrainingRequest } from './run-request.js';

/** What came of a run. */
export interface TrainingRun {
  readonly name: string;
  /** `LoRA`, `SparseLoRA`, … */
  readonly method: string;
  readonly backend: string;
  /** Directory with adapter, checkpoints, log and report. */
  readonly outputDir: string;
  /** False where it was interrupted: then there is a checkpoint and no adapter. */
  readonly finished: boolean;
  readonly lastCheckpoint: string | null;
  readonly training: TrainOutput;
  /** Arithmetic of a sparse step relative to a dense one; 1 for a dense run. */
  readonly flopsShare: number;
  readonly trainableParameters: number;
  readonly samples: number;
  readonly skippedRows: number;
  readonly evaluations: readonly EvaluationResult[];
  /** What sparsity kept; null for a dense run. */
  readonly sparsity: SparsityMap | null;
  readonly report: string | null;
  readonly peakMemoryBytes: number;
}

/**
 * Trains an adapter and saves it.
 * @throws an error with a `code` beginning with `SPFT_` for whatever is wrong with what was given, or stops the run.
 */
export async function runTraining(request: TrainingRequest, output: Output): Promise<TrainingRun> {
  const { config } = request;
  const asked = checkRequest(request);
  const sparsity = await readSparsity(config, request.flags, request.sparsityMode);
  const directory = resolve(config.outputDir);
  const checkpoints = directoryCheckpoints(directory);
  if (config.resumeFromCheckpoint === null && !request.overwrite && !config.benchmark) {
    await refuseOtherRun(directory, checkpoints);
  }
  const records = await openRecords(asked.dataset, config, request.validation, output);
  const tasks = asked.evalDataset === null ? [] : await openTasks(asked.evalDataset, output, config.skipBadRows);

  const { name: backend } = await openBackend(request.backend, output);
  const opened = request.opened ?? (await openModel(asked.model, output, { revision: request.revision }));
  const choice = asked.template ?? DEFAULT_TEMPLATE;
  const template = openTemplate(choice, opened.tokenizer);
  const samples = tokenize(records.train, opened.tokenizer, template, config, output);
  const evalSamples = records.validation && tokenize(records.validation, opened.tokenizer, template, config, output);

  const peft = newAdapter(opened, config, output);
  const spft =
    sparsity &&
    (await attachSparsity(peft, opened, sparsity, output).catch((error) => {
      peft.dispose();
      throw error;
    }));
  const statistics = spft && new SparsityStatistics(spft.plan, { layerCount: opened.model.layerCount });
  const name = runName(config, sparsity);
  const method = methodName(config, sparsity);
  const evaluate = (limit = request.evalLimit) =>
    evaluateModel(opened, tasks, { template, limit, batchSize: config.perDeviceEvalBatchSize }, output);
  try {
    const files = async () => ({
      [ADAPTER_CONFIG_FILE]: adapterConfigText(peft.config),
      [ADAPTER_MODEL_FILE]: await adapterToSafetensors(peft),
    });
    const writes = !config.benchmark;
    const interruption = new AbortController();
    const trainer = new Trainer({
      model: spft ?? peft,
      samples,
      args: asked.args,
      unlabelledSamples: config.skipBadRows ? 'skip' : 'error',
      ...(evalSamples ? { evalSamples } : {}),
      ...(tasks.length > 0 && !evalSamples ? { evaluator: async () => accuracies(await evaluate()) } : {}),
      ...(spft ? { denseTokens: spft.denseTokens } : {}),
      callbacks: [
        BREATHE,
        ...(spft ? [new SpftCallback(spft)] : []),
        ...(statistics ? [statistics] : []),
        ...(writes && asked.reports.has('jsonl') ? [new JsonlLogger(join(directory, 'log.jsonl'), { run: name })] : []),
        ...(request.callbacks ?? []),
      ],
      ...(writes ? { checkpoints, checkpointFiles: files } : {}),
      ...(output.quiet ? {} : { progress: terminalProgress({ label: method, output: output.io.stderr }) }),
      notify: (message) => output.note(message),
      signal: interruption.signal,
    });
    const flopsShare = runFlopsShare({ model: opened.model, spft, peft }, samples, trainer);
    if (writes) {
      await prepareDirectory(directory, checkpoints, request.overwrite ?? false);
      await writeRunFile(directory, {
        spft: VERSION,
        run_name: name,
        backend,
        template: choice.name,
        train: trainConfigToObject(config),
        sparsity: sparsity && SpftConfig.toObject(sparsity),
      });
    }

    const training = await guarded(checkpoints, writes, () =>
      untilInterrupted(output, interruption, () => trainer.train()),
    );
    spft?.disable();
    const finished = !interruption.signal.aborted || training.globalStep >= trainer.plan.maxSteps;
    const run = {
      ...{ name, method, backend, outputDir: directory, finished, training, flopsShare },
      lastCheckpoint: writes ? ((await checkpoints.list()).complete.at(-1)?.location ?? null) : null,
      trainableParameters: peft.parameterCount().trainable,
      samples: trainer.plan.samples,
      skippedRows: records.badRows,
      sparsity: statistics?.map() ?? null,
    };
    const peak = () => process.resourceUsage().maxRSS * 1024;
    if (!finished || !writes) return { ...run, evaluations: [], report: null, peakMemoryBytes: peak() };

    await savePretrained(peft, directory);
    output.note(`adapter saved in ${directory}`);
    const evaluations = tasks.length > 0 ? await evaluate() : [];
    if (evaluations.length > 0) await writeMetrics(join(directory, 'metrics.json'), evaluations);
    const report = asked.reports.has('html') ? join(directory, 'report.html') : null;
    const complete = { ...run, evaluations, report, peakMemoryBytes: peak() };
    if (report !== null) await writeReport(report, reportOf(complete, config));
    return complete;
  } finally {
    statistics?.dispose();
    spft?.dispose();
    peft.dispose();
    if (!request.opened) opened.model.dispose();
  }
}

/** Steps that compute synchronously leave no turn for Ctrl-C otherwise. */
const BREATHE: TrainerCallback = { onStepEnd: () => new Promise((resume) => setImmediate(resume)) };

/** As metrics of an evaluation during training. */
function accuracies(results: readonly EvaluationResult[]): Record<string, number> {
  const each = results.map(({ task, accuracy }): [string, number] => [`${task}_accuracy`, accuracy]);
  const mean = results.reduce((sum, { accuracy }) => sum + accuracy, 0) / results.length;
  return { accuracy: mean, ...Object.fromEntries(each) };
}

/** An error that stops a run says where to go on, if it does not say so itself. */
async function guarded<T>(checkpoints: CheckpointStore, writes: boolean, train: () => Promise<T>): Promise<T> {
  try {
    return await train();
  } catch (error) {
    if (!(error instanceof Error) || !writes || /last good checkpoint/i.test(error.message)) throw error;
    const last = await checkpoints.list().then(
      ({ complete }) => complete.at(-1)?.location ?? null,
      () => null,
    );
    const rest = last === null ? 'there is no checkpoint yet' : `last good checkpoint: ${last}`;
    const message = messageOf(error);
    if (message === null) {
      error.message += ` (${rest})`;
      throw error;
    }
    const goOn = last === null ? '' : ', go on with --resume_from_checkpoint true';
    throw new CliError(`${message}; ${rest}${goOn}`, { cause: error });
  }
}
