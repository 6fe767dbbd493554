/** @file What a training run is asked for, and whether that is enough and fits together. */
import { TRAIN_KEYS, type TrainConfig, type TrainKey } from '@spft/config';
import type { OpenedGroup } from '@spft/distributed';
import type { OptionNames } from '@spft/safetensors/internals';
import type { TrainerCallback, TrainingArgs } from '@spft/trainer';
import { CliError } from '../errors.js';
import { wants4Bits } from '../steps/frozen-base.js';
import type { OpenedModel } from '../steps/open-model.js';
import { goesOnWith } from '../steps/output-directory.js';
import { DEFAULT_TEMPLATE, knownTemplate, type TemplateChoice } from '../steps/template.js';
import { type WithoutEffect, withoutEffect } from '../steps/without-effect.js';

export interface TrainingRequest {
  /** Every training key: `loadTrainConfig(file, flags)` of `@spft/config/node`. */
  readonly config: TrainConfig;
  /** Keys that were given as flags: of the `spft_` ones these win over the sparsity file. */
  readonly flags?: Iterable<string>;
  readonly backend?: string;
  /** Which mode of a hub layout, `o1` or `o2`. */
  readonly sparsityMode?: string;
  /** Prompt template; upstream's if not given, the chat template where `chat_template_format` is set. */
  readonly template?: string;
  /** Held-out samples: a file, a fraction below 1 or a count of the training rows. */
  readonly validation?: string;
  /** So many questions of each evaluation set. */
  readonly evalLimit?: number;
  /** Replace an earlier run in `output_dir`. */
  readonly overwrite?: boolean;
  /** Of the model on the hub. */
  readonly revision?: string;
  /** A base that is open already, on the active backend; it stays open. */
  readonly opened?: OpenedModel;
  readonly callbacks?: readonly TrainerCallback[];
  /** The processes of this run; null or absent where there is one. */
  readonly ranks?: OpenedGroup | null;
}

export const TRAINING_REQUEST: OptionNames<TrainingRequest> = {
  ...{ config: true, flags: true, backend: true, sparsityMode: true, template: true, validation: true },
  ...{ evalLimit: true, overwrite: true, revision: true, opened: true, callbacks: true, ranks: true },
};

/** A request with what it leaves out. */
export type CheckedRequest = ReturnType<typeof checkRequest>;

/** Steps that `benchmark` measures, as upstream's script does. */
const BENCHMARK_STEPS = 50;

/** Keys that ask for something which is not computed here, or which another key does not ask for. */
const WITHOUT_EFFECT: readonly WithoutEffect<TrainConfig, TrainKey>[] = [
  { keys: ['packing'], note: 'batches are padding-free here, so there is nothing to pack' },
  { keys: ['appendConcatToken', 'addSpecialTokens'], note: 'it belongs to packing' },
  { keys: ['dataloaderNumWorkers'], note: 'batches are prepared in line, which takes milliseconds' },
  {
    keys: ['evalSteps'],
    note: 'it belongs to eval_strategy steps',
    unless: ({ evalStrategy }) => evalStrategy === 'steps',
  },
  {
    keys: ['metricForBestModel', 'greaterIsBetter'],
    note: 'without eval_strategy no checkpoint is known to be best',
    unless: ({ evalStrategy }) => evalStrategy !== 'no',
  },
  {
    keys: ['saveSteps'],
    note: 'it belongs to save_strategy steps',
    unless: ({ saveStrategy }) => saveStrategy === 'steps',
  },
  {
    keys: ['loggingSteps'],
    note: 'it belongs to logging_strategy steps',
    unless: ({ loggingStrategy }) => loggingStrategy === 'steps',
  },
  {
    keys: ['warmupRatio', 'warmupSteps'],
    note: 'lr_scheduler_type constant has no warm-up; constant_with_warmup has',
    unless: ({ lrSchedulerType }) => lrSchedulerType !== 'constant',
  },
  { keys: ['warmupRatio'], note: 'warmup_steps overrides it', unless: ({ warmupSteps }) => warmupSteps === 0 },
  { keys: ['momentum'], note: 'it belongs to optim sgd', unless: ({ optim }) => optim === 'sgd' },
  {
    keys: ['adamBeta1', 'adamBeta2'],
    note: 'it belongs to the adamw optimizers and to lion',
    unless: ({ optim }) => optim !== 'sgd' && optim !== 'adafactor',
  },
  {
    keys: ['adamEpsilon'],
    note: 'it belongs to the adamw optimizers',
    unless: ({ optim }) => optim !== 'sgd' && optim !== 'adafactor' && optim !== 'lion',
  },
  {
    keys: ['fp8KeepTransposed', 'fp8OutlierChannels'],
    note: 'it belongs to base_precision fp8',
    unless: ({ basePrecision }) => basePrecision === 'fp8',
  },
  {
    keys: ['bnb_4bitQuantType', 'bnb_4bitUseDoubleQuant', 'bnb_4bitComputeDtype', 'bnb_4bitEmbeddings'],
    note: 'it belongs to frozen weights in 4 bits, which --peft qlora or qdora has',
    unless: ({ peft, basePrecision }) => wants4Bits(peft) || ['nf4', 'fp4'].includes(basePrecision),
  },
];

/** The parts of a request that have to be there, completed. @throws CliError naming what is missing or contradicts. */
export function checkRequest(request: TrainingRequest) {
  const { config, opened } = request;
  const missing = [
    ...(config.modelNameOrPath === null && !opened ? ['--model DIR_OR_HUB_ID (model_name_or_path)'] : []),
    ...(config.dataset === null ? ['--dataset math10k|csr170k|FILE (dataset)'] : []),
  ];
  if (missing.length > 0)
    throw new CliError(`training needs ${missing.join(' and ')}, as a flag or in the --config file`);
  if (
    (config.evalStrategy !== 'no' || config.evalOnStart) &&
    request.validation === undefined &&
    config.evalDataset === null
  ) {
    throw new CliError(
      `${config.evalStrategy === 'no' ? 'eval_on_start is true' : `eval_strategy is ${config.evalStrategy}`}, but there is nothing to evaluate on; give --validation FILE|FRACTION (loss) or --eval_dataset (accuracy), or set it to no`,
    );
  }
  if (request.overwrite && goesOnWith(config.outputDir, config.resumeFromCheckpoint)) {
    throw new CliError(
      'overwrite_output_dir would remove the run that resume_from_checkpoint is to go on with; give one of the two',
    );
  }
  const orphans = config.spft === null ? [...(request.flags ?? [])].filter((flag) => /^-*spft[_A-Z-]/.test(flag)) : [];
  if (orphans.length > 0) {
    throw new CliError(`${orphans.join(', ')}: changes a sparsity file, and there is none; give --sparsity FILE`);
  }
  const reports = new Set<string>(config.reportTo.includes('all') ? ['jsonl', 'html'] : config.reportTo);
  const template: TemplateChoice =
    request.template !== undefined
      ? { name: knownTemplate(request.template), format: config.chatTemplateFormat }
      : config.chatTemplateFormat === null
        ? DEFAULT_TEMPLATE
        : { name: 'chat', format: config.chatTemplateFormat };
  return {
    model: opened?.name ?? config.modelNameOrPath!,
    dataset: config.dataset!,
    evalDataset: config.benchmark ? null : config.evalDataset,
    reports,
    template,
    args: config.benchmark ? benchmarkArgs(config) : config,
  };
}

/** What the user should know of keys that are accepted and do nothing. */
export function ignoredKeys(config: TrainConfig): string[] {
  return withoutEffect(config, TRAIN_KEYS, WITHOUT_EFFECT);
}

function benchmarkArgs(config: TrainConfig): Partial<TrainingArgs> {
  const maxSteps = config.maxSteps > 0 ? config.maxSteps : BENCHMARK_STEPS;
  return {
    ...config,
    maxSteps,
    saveStrategy: 'no',
    evalStrategy: 'no',
    loadBestModelAtEnd: false,
    resumeFromCheckpoint: null,
  };
}
