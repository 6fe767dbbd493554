/**
 * @file A training run from top to bottom: read, open, attach, train, save, evaluate, report. What `spft train` does, for recipes too.
 *
 * Nothing is written before everything that was given has been read and fits together.
 */
import { join } from 'node:path';
import { SpftConfig, type TrainConfig, trainConfigToObject } from '@spft/config';
import type { SpftModel } from '@spft/estimator';
import type { LlamaForCausalLM } from '@spft/models';
import { adapterConfigText, adapterToSafetensors, type PeftModel } from '@spft/peft';
import { ADAPTER_CONFIG_FILE, ADAPTER_MODEL_FILE, savePretrained } from '@spft/peft/node';
import { assertKnownOptions } from '@spft/safetensors/internals';
import {
  type CheckpointStore,
  type EvaluationResult,
  jumpWarning,
  lossJump,
  ModuleStatistics,
  type SampleSource,
  Trainer,
  type TrainerCallback,
} from '@spft/trainer';
import {
  JsonlLogger,
  TensorBoardLogger,
  terminalProgress,
  WandbLogger,
  writeMetrics,
  writeReport,
} from '@spft/trainer/node';
import { CliError, messageOf } from '../errors.js';
import { untilInterrupted } from '../steps/interrupt.js';
import { microBatchesOf } from '../steps/micro-batches.js';
import { type OpenRun, openRun } from '../steps/open-run.js';
import { goesOnWith, inDirectory } from '../steps/output-directory.js';
import { reportOf } from '../steps/report-of.js';
import { runFlopsShare } from '../steps/run-flops.js';
import { methodName, runName } from '../steps/run-name.js';
import { runNotes } from '../steps/run-notes.js';
import { writeSparsityLayout } from '../steps/sparsity-layout.js';
import type { Output } from '../terminal/output.js';
import { VERSION } from '../version.js';
import { evaluateModel } from './evaluate-model.js';
import { writeRunFile } from './run-file.js';
import { type CheckedRequest, checkRequest, TRAINING_REQUEST, type TrainingRequest } from './run-request.js';
import type { TrainingRun } from './training-run.js';

export type { TrainingRequest } from './run-request.js';
export type { TrainingRun } from './training-run.js';

/**
 * Trains an adapter and saves it.
 * @throws an error with a `code` beginning with `SPFT_` for whatever is wrong with what was given, or stops the run.
 */
export async function runTraining(request: TrainingRequest, output: Output): Promise<TrainingRun> {
  assertKnownOptions('runTraining', request, TRAINING_REQUEST);
  const asked = checkRequest(request);
  const cleanup: (() => void)[] = [];
  try {
    return await train(request, asked, await openRun(request, asked, output, cleanup), output);
  } finally {
    for (const end of cleanup.reverse()) end();
  }
}

async function train(
  request: TrainingRequest,
  asked: CheckedRequest,
  open: OpenRun,
  output: Output,
): Promise<TrainingRun> {
  const { config, ranks = null } = request;
  const isFirst = (ranks?.rank ?? 0) === 0;
  const {
    backend,
    directory,
    checkpoints,
    opened,
    template,
    samples,
    tasks,
    sparsity,
    peft,
    spft,
    statistics,
    shards,
    lockstep,
  } = open;
  const name = runName(config, sparsity);
  const method = methodName(config, sparsity);
  const writes = !config.benchmark && isFirst;
  const evaluate = () =>
    evaluateModel(
      opened,
      tasks,
      { template, limit: request.evalLimit, batchSize: config.perDeviceEvalBatchSize, ranks },
      output,
    );
  const interruption = new AbortController();
  const watch = new RunWatch();
  const sinks = writes ? dashboards(asked.reports, directory, name, config, sparsity) : [];
  const modules = spft && sinks.length > 0 ? new ModuleStatistics(spft.plan, sinks) : null;
  const trainer = new Trainer({
    model: spft ?? peft,
    samples: samples.source,
    args: asked.args,
    ...(modules && spft ? { denseTokens: modules.counting((...batch) => spft.denseTokens(...batch)) } : {}),
    ...(open.evalSamples ? { evalSamples: open.evalSamples } : {}),
    ...(tasks.length > 0 && !open.evalSamples ? { evaluator: async () => accuracies(await evaluate()) } : {}),
    callbacks: [
      watch,
      ...(statistics ? [statistics] : []),
      ...sinks,
      ...(modules ? [modules] : []),
      ...(writes && asked.reports.has('jsonl') ? [new JsonlLogger(join(directory, 'log.jsonl'), { run: name })] : []),
      ...(request.callbacks ?? []),
    ],
    ...(config.benchmark ? {} : { checkpoints, checkpointFiles: () => adapterFiles(peft) }),
    ...(ranks ? { ranks, shards, lockstep } : {}),
    ...(await microBatchesOf(asked, checkpoints, ranks, output)),
    ...(output.quiet ? {} : { progress: terminalProgress({ label: method, output: output.io.stderr }) }),
    notify: (message) => output.note(message),
    signal: interruption.signal,
  });
  const flopsShare = runFlopsShare({ model: opened.model, spft, peft }, samples.source, trainer);
  const planned = { config, validation: request.validation, spft, maxSteps: trainer.plan.maxSteps, flopsShare };
  for (const note of runNotes(planned)) output.warn(note);
  const resumes = goesOnWith(directory, config.resumeFromCheckpoint);
  const plan = { resumes, mayBegin: config.resumeFromCheckpoint === 'auto', overwrite: request.overwrite ?? false };
  return writes ? inDirectory(directory, checkpoints, plan, carryOut) : carryOut();

  async function carryOut(): Promise<TrainingRun> {
    if (writes) {
      await writeRunFile(directory, {
        spft: VERSION,
        run_name: name,
        backend,
        template: template.name,
        train: trainConfigToObject(config),
        sparsity: sparsity && SpftConfig.toObject(sparsity),
      });
    }

    const { training, finished } = await watch.guard(checkpoints, async () => {
      // A choice that is used for several steps must not be made here.
      const isTold = spft !== null && !config.benchmark && (sparsity?.selectionInterval ?? 1) === 1;
      // With a base in parts, or a choice that all make together, all look, as none can alone.
      if (isTold && (isFirst || shards || lockstep) && config.resumeFromCheckpoint === null)
        await tellOfSparseLoss(spft, samples.source, output);
      const training = await untilInterrupted(
        output,
        interruption,
        () => trainer.train(),
        ranks && (() => ranks.error !== null),
      );
      const finished = !training.interrupted;
      if (finished && writes) {
        await savePretrained(peft, directory);
        await writeSparsityLayout(directory, sparsity, output);
      }
      return { training, finished };
    });
    samples.afterwards();
    spft?.disable();
    const run = {
      ...{ name, method, backend, outputDir: directory, finished, training, flopsShare },
      interruptedBy: finished ? null : String(interruption.signal.reason ?? 'SIGTERM'),
      lastCheckpoint: writes ? ((await checkpoints.list()).complete.at(-1)?.location ?? null) : null,
      trainableParameters: peft.parameterCount().trainable,
      samples: trainer.plan.samples,
      skippedRows: open.skippedRows,
      sparsity: statistics?.map() ?? null,
    };
    const peak = () => process.resourceUsage().maxRSS * 1024;
    if (!finished || config.benchmark) return { ...run, evaluations: [], report: null, peakMemoryBytes: peak() };

    output.note(`adapter saved in ${directory}`);
    const evaluations = tasks.length > 0 ? await evaluate() : [];
    if (!writes) return { ...run, evaluations, report: null, peakMemoryBytes: peak() };
    if (evaluations.length > 0) await writeMetrics(join(directory, 'metrics.json'), evaluations);
    const report = asked.reports.has('html') ? join(directory, 'report.html') : null;
    const complete = { ...run, evaluations, report, peakMemoryBytes: peak() };
    if (report !== null) await writeReport(report, reportOf(complete, config));
    return complete;
  }
}

/** What shows a run in a browser while it runs. */
function dashboards(
  reports: ReadonlySet<string>,
  directory: string,
  name: string,
  config: TrainConfig,
  sparsity: SpftConfig | null,
): (TensorBoardLogger | WandbLogger)[] {
  const settings = { ...trainConfigToObject(config), sparsity: sparsity && SpftConfig.toObject(sparsity) };
  return [
    ...(reports.has('tensorboard')
      ? [new TensorBoardLogger(join(directory, 'tensorboard', name.replaceAll('/', '-')))]
      : []),
    ...(reports.has('wandb') ? [new WandbLogger({ name, config: settings, directory: join(directory, 'wandb') })] : []),
  ];
}

/** Sparse losses are not what dense ones are: said once, and a warning where they are far apart. */
async function tellOfSparseLoss(
  spft: SpftModel<PeftModel<LlamaForCausalLM>>,
  samples: SampleSource,
  output: Output,
): Promise<void> {
  const jump = await lossJump(spft, samples);
  if (jump === null) return;
  const warning = jumpWarning(jump);
  if (warning !== null) output.warn(warning);
  output.note(
    `losses of sparse steps are not comparable with dense ones (before training ${jump.sparse.toFixed(3)} and ${jump.dense.toFixed(3)}): ` +
      'compare runs by eval_strategy, whose losses are dense',
  );
}

/** What every checkpoint gets besides, so that PEFT can load it. */
async function adapterFiles(peft: PeftModel): Promise<Record<string, string | Uint8Array>> {
  return {
    [ADAPTER_CONFIG_FILE]: adapterConfigText(peft.config),
    [ADAPTER_MODEL_FILE]: await adapterToSafetensors(peft),
  };
}

/** As metrics of an evaluation during training. */
function accuracies(results: readonly EvaluationResult[]): Record<string, number> {
  const each = results.map(({ task, accuracy }): [string, number] => [`${task}_accuracy`, accuracy]);
  const mean = results.reduce((sum, { accuracy }) => sum + accuracy, 0) / results.length;
  return { accuracy: mean, ...Object.fromEntries(each) };
}

/** Knows whether steps have begun, so that an error which stops them can say where to go on. */
class RunWatch implements TrainerCallback {
  #began = false;

  onTrainBegin(): void {
    this.#began = true;
  }

  /** Steps that compute synchronously leave no turn for Ctrl-C otherwise. */
  onStepEnd(): Promise<void> {
    return new Promise((resume) => setImmediate(resume));
  }

  /** @throws what `work` throws, with the last good checkpoint named if the message does not do so itself. */
  async guard<T>(checkpoints: CheckpointStore, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!this.#began || !(error instanceof Error) || /last good checkpoint/i.test(error.message)) throw error;
      const last = await checkpoints.list().then(
        ({ complete }) => complete.at(-1)?.location ?? null,
        () => null,
      );
      const rest = last === null ? 'there is no checkpoint yet' : `last good checkpoint: ${last}`;
      const message = messageOf(error);
      if (message === null) {
        error.stack = `${error.stack ?? error.message}\n${rest}`;
        throw error;
      }
      const goOn = last === null ? '' : ', go on with --resume_from_checkpoint true';
      throw new CliError(`${message}; ${rest}${goOn}`, { cause: error });
    }
  }
}
