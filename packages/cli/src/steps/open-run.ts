/** @file Everything that a run needs, read and put together, before anything is written: data, model, adapter, sparsity. */
import { resolve } from 'node:path';
import type { SpftConfig, TrainConfig } from '@spft/config';
import type { SpftModel } from '@spft/estimator';
import type { LlamaForCausalLM } from '@spft/models';
import type { PeftModel } from '@spft/peft';
import {
  type CheckpointStore,
  type EvaluationTask,
  type PromptTemplate,
  type Sample,
  SparsityStatistics,
} from '@spft/trainer';
import type { TemplateChoice } from '@spft/trainer/internals';
import { directoryCheckpoints, refuseHeld } from '@spft/trainer/node';
import { openTasks } from '../runs/evaluate-model.js';
import type { CheckedRequest, TrainingRequest } from '../runs/run-request.js';
import type { Output } from '../terminal/output.js';
import { newAdapter } from './attach-adapter.js';
import { attachSparsity, calibrationOf, readSparsity } from './attach-sparsity.js';
import { frozenOptions } from './frozen-base.js';
import { openBackend } from './open-backend.js';
import { openRecords, type RunSamples, templateForRecords, tokenize } from './open-data.js';
import { type OpenedModel, openModel } from './open-model.js';
import { refuseOtherRun } from './output-directory.js';
import { autoBudget, plannedSparsity } from './plan.js';
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
}

/** @param cleanup gets what is to be done in the end, whatever comes of it; the last one first. */
export async function openRun(
  request: TrainingRequest,
  asked: CheckedRequest,
  output: Output,
  cleanup: (() => void)[],
): Promise<OpenRun> {
  const { config } = request;
  const auto = autoBudget(config.spft);
  const file = auto ? null : await readSparsity(config, request.flags, request.sparsityMode, output);
  const directory = resolve(config.outputDir);
  const checkpoints = directoryCheckpoints(directory);
  // Looked at again when the directory is taken, which is not before everything fits together.
  if (!config.benchmark) {
    await requireWritable(directory, 'output_dir', 'name another --output_dir');
    await refuseHeld(directory);
  }
  if (config.resumeFromCheckpoint === null && !request.overwrite && !config.benchmark) {
    await refuseOtherRun(directory, checkpoints);
  }
  const records = await openRecords(asked.dataset, config, request.validation, output);
  const tasks = asked.evalDataset === null ? [] : await openTasks(asked.evalDataset, output, config.skipBadRows);

  const { name: backend } = await openBackend(request.backend, output);
  const opened =
    request.opened ?? (await openModel(asked.model, output, { revision: request.revision, ...frozenOptions(config) }));
  if (!request.opened) cleanup.push(() => opened.model.dispose());
  const isNamed = request.template !== undefined || config.chatTemplateFormat !== null;
  const choice = templateForRecords(records.train, { template: asked.template, isNamed }, opened.tokenizer, output);
  const template = openTemplate(choice, opened.tokenizer);
  const samples = await tokenize(records.train, opened, choice, config, output, visitsOf(asked.args));
  const evalSamples = records.validation && (await heldOut(records.validation, opened, choice, config, output));

  if (config.enableUnsloth) {
    output.note(
      'enable_unsloth: LoRA over q, k, v, over o and over the MLP, RMSNorm, RoPE, SwiGLU and the loss are fused functions here, always; ' +
        'what the switch still does is to put adapters on all seven projections, as the original',
    );
  }
  const peft = newAdapter(opened, config, output);
  cleanup.push(() => peft.dispose());
  const sparsity = auto
    ? await plannedSparsity({ peft, opened, samples, train: config, ...auto }, request.flags ?? [], output)
    : file;
  const spft =
    sparsity && (await attachSparsity(peft, opened, sparsity, output, calibrationOf(opened, samples, sparsity)));
  if (spft) cleanup.push(() => spft.dispose());
  const statistics = spft && new SparsityStatistics(spft.plan, { layerCount: opened.model.layerCount });
  if (statistics) cleanup.push(() => statistics.dispose());
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
    },
    skippedRows: records.badRows,
  };
}

/** How many samples a run of so many steps sees; all where epochs count. */
function visitsOf({ maxSteps, perDeviceTrainBatchSize, gradientAccumulationSteps }: CheckedRequest['args']): number {
  return maxSteps !== undefined && maxSteps > 0
    ? maxSteps * (perDeviceTrainBatchSize ?? 8) * (gradientAccumulationSteps ?? 1)
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
