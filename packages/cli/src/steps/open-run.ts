/** @file Everything that a run needs, read and put together, before anything is written: data, model, adapter, sparsity. */
import { resolve } from 'node:path';
import { type SpftConfig, type TrainConfig, trainConfigToObject } from '@spft/config';
import type { SpftModel } from '@spft/estimator';
import type { LlamaForCausalLM } from '@spft/models';
import type { PeftModel } from '@spft/peft';
import type { WeightShards } from '@spft/sparse-ops';
import {
  type CheckpointStore,
  type EvaluationTask,
  type PromptTemplate,
  type Sample,
  SparsityStatistics,
} from '@spft/trainer';
import { samplesDigest, type TemplateChoice } from '@spft/trainer/internals';
import { directoryCheckpoints, refuseHeld } from '@spft/trainer/node';
import { openTasks } from '../runs/evaluate-model.js';
import type { CheckedRequest, TrainingRequest } from '../runs/run-request.js';
import type { Output } from '../terminal/output.js';
import { VERSION } from '../version.js';
import { newAdapter } from './attach-adapter.js';
import { attachSparsity, calibrationOf, readSparsity } from './attach-sparsity.js';
import { chooseOutliers, frozenOptions, precisionNote } from './frozen-base.js';
import { openBackend } from './open-backend.js';
import { openRecords, type RunSamples, templateForRecords, tokenize } from './open-data.js';
import { locateModel, type OpenedModel, openModel } from './open-model.js';
import { goesOnWith, refuseModelDirectory, refuseOtherRun } from './output-directory.js';
import { autoBudget, plannedSparsity } from './plan.js';
import { connectGpus, firstOnHost, requireSame, shardsFor, sharedScores } from './ranks.js';
import { openTemplate } from './template.js';
import { requireWritable } from './writable.js';

export interface OpenRun {
  readonly backend: string;
  /** `output_dir`, absolute. */
  readonly directory: string;
  readonly checkpoints: CheckpointStore;
  readonly opened: OpenedModel;
  readonly template: PromptTemplate;
  readonly samples: RunSamples;
  readonly evalSamples: readonly Sample[] | null;
  readonly skippedRows: number;
  /** Evaluation sets; none where `eval_dataset` is not given. */
  readonly tasks: readonly EvaluationTask[];
  readonly sparsity: SpftConfig | null;
  readonly peft: PeftModel<LlamaForCausalLM>;
  readonly spft: SpftModel<PeftModel<LlamaForCausalLM>> | null;
  /** What sparsity keeps, as it is chosen; null for a dense run. */
  readonly statistics: SparsityStatistics | null;
  /** What holds this rank's part of the base; null where that is whole. */
  readonly shards: WeightShards | null;
  /** Whether ranks exchange values within a forward pass. */
  readonly lockstep: boolean;
}

/** @param cleanup gets what is to be done in the end, whatever comes of it; the last one first. */
export async function openRun(
  request: TrainingRequest,
  asked: CheckedRequest,
  output: Output,
  cleanup: (() => void)[],
): Promise<OpenRun> {
  const { config, ranks = null } = request;
  const isFirst = (ranks?.rank ?? 0) === 0;
  const auto = autoBudget(config.spft);
  const file = auto
    ? null
    : await firstOnHost(ranks, () => readSparsity(config, request.flags, request.sparsityMode, output));
  const directory = resolve(config.outputDir);
  const checkpoints = directoryCheckpoints(directory);
  // Looked at again when the directory is taken, which is not before everything fits together.
  if (!config.benchmark && isFirst) {
    await requireWritable(directory, 'output_dir', 'name another --output_dir');
    await refuseHeld(directory);
  }
  const resumes = await resumesEarlierRun(directory, config.resumeFromCheckpoint, checkpoints);
  if (!resumes && !config.benchmark && isFirst) await refuseModelDirectory(directory);
  if (!resumes && !request.overwrite && !config.benchmark && isFirst) {
    await refuseOtherRun(directory, checkpoints);
  }
  const { records, tasks } = await firstOnHost(ranks, async () => ({
    records: await openRecords(asked.dataset, config, request.validation, output),
    tasks: asked.evalDataset === null ? [] : await openTasks(asked.evalDataset, output, config.skipBadRows),
  }));

  const { name: backend } = await openBackend(request.backend, output);
  const note = precisionNote(config);
  if (note !== null) output.note(note);
  if (ranks) await connectGpus(ranks, output);
  const shards = config.shardBase ? shardsFor(ranks, { tasks: tasks.length > 0, auto: auto !== null }, output) : null;
  if (ranks && !request.opened) {
    const hub = request.revision === undefined ? {} : { revision: request.revision };
    await firstOnHost(ranks, () => locateModel(asked.model, output, hub));
  }
  const opened =
    request.opened ??
    (await openModel(asked.model, output, { revision: request.revision, ...frozenOptions(config), shards }));
  if (!request.opened) cleanup.push(() => opened.model.dispose());
  const isNamed = request.template !== undefined || config.chatTemplateFormat !== null;
  const choice = templateForRecords(records.train, { template: asked.template, isNamed }, opened.tokenizer, output);
  const template = openTemplate(choice, opened.tokenizer);
  const visits = visitsOf(asked.args, ranks?.size ?? 1);
  const { samples, evalSamples } = await firstOnHost(ranks, async () => ({
    samples: await tokenize(records.train, opened, choice, config, output, visits),
    evalSamples: records.validation && (await heldOut(records.validation, opened, choice, config, output)),
  }));

  if (!shards) chooseOutliers(config, opened.model, samples.source);
  if (config.enableUnsloth) {
    output.note(
      'enable_unsloth: LoRA over q, k, v, over o and over the MLP, RMSNorm, RoPE, SwiGLU and the loss are fused functions here, always; ' +
        'what the switch still does is to put adapters on all seven projections, as the original',
    );
  }
  const peft = newAdapter(opened, config, output);
  cleanup.push(() => peft.dispose());
  const shareScores = config.sharedSelection ? sharedScores(ranks, auto !== null || file !== null, output) : undefined;
  // Who looks at weights in parts does so with all others.
  const { sparsity, spft } = await firstOnHost(shards ? null : ranks, async () => {
    const sparsity = auto
      ? await plannedSparsity({ peft, opened, samples, train: config, ...auto }, request.flags ?? [], output)
      : file;
    const calibration = sparsity && calibrationOf(opened, samples, sparsity);
    const attached = sparsity && (await attachSparsity(peft, opened, sparsity, output, calibration!, shareScores));
    return { sparsity, spft: attached };
  });
  if (spft) cleanup.push(() => spft.dispose());
  const statistics = spft && new SparsityStatistics(spft.plan, { layerCount: opened.model.layerCount });
  if (statistics) cleanup.push(() => statistics.dispose());
  if (ranks) {
    const held = evalSamples === null ? 'none' : samplesDigest(evalSamples);
    await requireSame(ranks, await factsOf(config, backend, { samples, held, model: spft ?? peft }));
  }
  return {
    ...{
      backend,
      directory,
      checkpoints,
      opened,
      template,
      samples,
      evalSamples,
      tasks,
      sparsity,
      peft,
      spft,
      statistics,
      shards,
      lockstep: shareScores !== undefined,
    },
    skippedRows: records.badRows,
  };
}

/** How many samples a run of so many steps sees; all where epochs count. */
function visitsOf(
  { maxSteps, perDeviceTrainBatchSize, gradientAccumulationSteps }: CheckedRequest['args'],
  ranks: number,
): number {
  return maxSteps !== undefined && maxSteps > 0
    ? maxSteps * (perDeviceTrainBatchSize ?? 8) * (gradientAccumulationSteps ?? 1) * ranks
    : Infinity;
}

async function heldOut(
  records: Parameters<typeof tokenize>[0],
  opened: OpenedModel,
  choice: TemplateChoice,
  config: TrainConfig,
  output: Output,
): Promise<Sample[]> {
  const { source } = await tokenize(records, opened, choice, config, output);
  return Array.from({ length: source.length }, (_, n) => source.sample(n));
}

/** Whether the directory's earlier run is asked to go on: `auto` does not where it has no checkpoint. */
async function resumesEarlierRun(
  directory: string,
  resume: string | null,
  checkpoints: CheckpointStore,
): Promise<boolean> {
  return goesOnWith(directory, resume) && (resume !== 'auto' || (await checkpoints.list()).complete.length > 0);
}

/** Keys that say where something lies, which may be elsewhere on another host, and those that one rank alone obeys. */
const OWN_KEYS: ReadonlySet<string> = new Set(['output_dir', 'model_name_or_path', 'dataset', 'report_to', 'spft']);

/** What must be the same on all ranks, by name. Sparsity and base are in the model's identity, by fingerprints. */
async function factsOf(
  config: TrainConfig,
  backend: string,
  {
    samples,
    held,
    model,
  }: {
    readonly samples: RunSamples;
    readonly held: string;
    readonly model: Pick<PeftModel<LlamaForCausalLM>, 'identity'>;
  },
): Promise<Record<string, string>> {
  const { 'sparsity.predictors': _, ...identity } = await model.identity();
  const keys = Object.entries(trainConfigToObject(config)).filter(([name]) => !OWN_KEYS.has(name));
  return {
    ...{ 'version of spft': VERSION, backend },
    ...Object.fromEntries(keys.map(([name, value]) => [name, JSON.stringify(value)])),
    ...{ 'number of samples': String(samples.source.length), 'digest of the data': samples.source.digest },
    'digest of the held-out data': held,
    ...Object.fromEntries(
      Object.entries(identity).map(([name, text]) => [name === 'base' ? 'base model' : name, text]),
    ),
  };
}
