/** @file One job of the study in a process of its own: a plan, or a run with its evaluation. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { main, Output, openBackend, processIo, runTraining } from '@spft/cli';
import { loadSpftConfig, loadTrainConfig } from '@spft/config/node';
import type { SpftModel } from '@spft/estimator';
import type { TrainableModel } from '@spft/models';
import { loadTokenizer, openModelDirectory } from '@spft/models/node';
import { noGradient } from '@spft/sparse-ops';
import {
  collate,
  type EvaluationResult,
  type InstructionRecord,
  promptTemplate,
  type Sample,
  tokenizeRecord,
} from '@spft/trainer';
import { loadDataset } from '@spft/trainer/node';
import * as tf from '@tensorflow/tfjs';
import { endWithin, sparseStepShare } from './fit-budget.js';
import { type FormCounts, formOf } from './form.js';
import type { Job, TaskName } from './job-types.js';
import { StepTrace, type TraceSummary } from './step-trace.js';

export interface JobSetting {
  readonly model: string;
  readonly data: string;
  readonly directory: string;
  readonly backend: string;
  /** Steps of each task, where the job has none of its own; no more than `most`, if that is given. */
  readonly taskSteps: Readonly<Record<TaskName, number>>;
  readonly most: number | null;
  readonly learningRate: Readonly<Record<TaskName, number>>;
  readonly batchSize: number;
  readonly rank: number;
  readonly template: string;
  /** Samples that a plan is measured on. */
  readonly planSamples: number;
  /** Questions of a set; all where null. */
  readonly questions: number | null;
  /** Sets of questions by name; all of the task's where null. */
  readonly sets: readonly string[] | null;
  /** The run is looked at step by step (`step-trace.ts`), and no held-out loss is computed. */
  readonly traces?: boolean;
}

/** Longest sample in tokens. */
const MAX_LENGTH = 256;

export interface JobResult {
  readonly accuracies: Readonly<Record<string, number>>;
  /** Share of the most frequent right answer of each set. */
  readonly majority: Readonly<Record<string, number>>;
  readonly form: FormCounts | null;
  /** The same with the questions read as a sparse step reads them, where the job asks so. */
  readonly sparseForm?: FormCounts | null;
  readonly flopsShare: number;
  /** Of the median step. */
  readonly secondsPerStep: number | null;
  /** Of all steps, the first ones and recording included. */
  readonly meanSecondsPerStep?: number;
  readonly trace?: TraceSummary & { readonly lines: readonly string[] };
  readonly trainLoss: number | null;
  /** Mean over the last quarter of the steps. */
  readonly lastTrainLoss: number | null;
  /** Of held-out rows, densely. */
  readonly denseHeldOutLoss: number | null;
  /** Of the same rows, with the context as sparse as it was trained; null for dense runs. */
  readonly sparseHeldOutLoss: number | null;
  readonly steps: number;
  /** The step at which sparsity ended, where a budget said so. */
  readonly endStep?: number;
  readonly seconds: number;
}

const TASKS: Readonly<
  Record<TaskName, { readonly train: string; readonly held: string; readonly sets: string | null }>
> = {
  math: { train: 'math-train.json', held: 'math-held.json', sets: 'mawps=mawps.json+gsm8k=gsm8k.json' },
  csr: {
    train: 'csr-train.json',
    held: 'csr-held.json',
    sets: 'arc-easy=arc.json+openbookqa=openbookqa.json+boolq=boolq.json',
  },
  'random-answers': { train: 'random-train.json', held: 'random-held.json', sets: null },
};

const trainFile = (setting: JobSetting, task: TaskName) => join(setting.data, TASKS[task].train);

/** The arguments of a plan for a task within a budget. */
export function planArguments(
  setting: JobSetting,
  task: TaskName,
  estimator: string,
  flops: number,
  out: string,
  schedule: Readonly<Record<string, string | number | boolean>>,
  { targets = 'all-linear', tails }: { readonly targets?: string; readonly tails?: readonly number[] } = {},
): string[] {
  const steps = ['start_step', 'end_step', 'compensation_rank'].flatMap((key) =>
    key in schedule ? [`--${key}`, String(schedule[key])] : [],
  );
  const tried = tails === undefined ? [] : ['--tails', tails.join(',')];
  return [
    ...[
      '--backend',
      setting.backend,
      'sparsity',
      'plan',
      '--model',
      setting.model,
      '--dataset',
      trainFile(setting, task),
    ],
    ...[
      '--flops',
      String(flops),
      '--estimator',
      estimator,
      '--out',
      out,
      '--overwrite',
      '--samples',
      String(setting.planSamples),
    ],
    ...['--lora_r', String(setting.rank), '--lora_target_modules', targets, '--template', setting.template],
    ...['--model_max_length', String(MAX_LENGTH), '--json', `${out}.json`, ...steps, ...tried],
  ];
}

export async function plan(argv: readonly string[]): Promise<void> {
  const code = await main(argv);
  if (code !== 0) process.exitCode = code;
}

/** Trains if the job does, evaluates, and gives the numbers. */
export async function runJob(
  job: Job,
  setting: JobSetting,
  sparsityFile: string | null,
  output: Output,
): Promise<JobResult> {
  const started = performance.now();
  const { train, held, sets } = TASKS[job.task];
  const { training = {} } = job;
  const wanted = job.trains ? (training.steps ?? setting.taskSteps[job.task]) : 1;
  const steps = Math.min(setting.most ?? wanted, wanted);
  const asked =
    job.asks === false ? [] : sets?.split('+').filter((set) => setting.sets?.includes(set.split('=')[0]!) ?? true);
  const spec = asked?.join('+').replace(/=/g, `=${setting.data}/`) || null;
  const endStep = await fitBudget(job, setting, sparsityFile, steps);
  const loggingSteps = Math.min(15, Math.ceil(steps / 8));
  /** Over the dense last steps, where nothing else is said. */
  const decaySteps = training.decay === undefined ? null : Math.round(training.decay * steps) || steps - (endStep ?? 0);
  const keys: Record<string, string> = {
    model: setting.model,
    dataset: join(setting.data, train),
    ...(spec === null ? {} : { eval_dataset: spec }),
    peft: job.peft,
    ...(job.peft === 'qlora' ? { bnb_4bit_use_double_quant: 'true' } : {}),
    ...{
      lora_r: String(setting.rank),
      lora_alpha: String(2 * setting.rank),
      lora_target_modules: training.targets?.join(',') ?? 'all-linear',
    },
    ...{ max_steps: String(steps), warmup_steps: String(Math.ceil(steps / 20)), lr_scheduler_type: 'cosine' },
    // A base is evaluated as a run whose adapter learns nothing.
    learning_rate: job.trains ? String(training.learningRate ?? setting.learningRate[job.task]) : '0',
    per_device_train_batch_size: String(training.batchSize ?? setting.batchSize),
    ...{
      per_device_eval_batch_size: '64',
      model_max_length: String(MAX_LENGTH),
      seed: String(job.seed),
      logging_steps: String(loggingSteps),
      save_strategy: 'no',
    },
    ...(setting.traces ? {} : { eval_strategy: 'steps', eval_steps: String(steps) }),
    output_dir: setting.directory,
    ...(sparsityFile === null ? {} : { spft: sparsityFile }),
    ...(decaySteps === null
      ? {}
      : { lr_scheduler_type: 'warmup_stable_decay', lr_scheduler_kwargs: `num_decay_steps=${decaySteps}` }),
    ...training.keys,
  };
  const { model, ...rest } = keys;
  const config = await loadTrainConfig(null, { ...rest, model_name_or_path: model! });
  await openBackend(setting.backend, output);
  let sparseHeldOutLoss: number | null = null;
  let sparsity: SpftModel['plan'] | null = null;
  const trace = setting.traces ? new StepTrace(() => sparsity?.enabled ?? false, steps - 1) : null;
  const run = await runTraining(
    {
      ...{ config, backend: setting.backend, template: setting.template, overwrite: true },
      callbacks: [
        ...(trace ? [trace] : []),
        {
          onTrainBegin: ({ model }) => {
            sparsity = sparsityFile === null ? null : (model as unknown as SpftModel).plan;
          },
          onTrainEnd: async ({ model }) => {
            if (!setting.traces && job.trains && sparsityFile !== null)
              sparseHeldOutLoss = await sparseLoss(model, await samplesOf(setting, join(setting.data, held)));
          },
        },
      ],
      ...(setting.traces ? {} : { validation: join(setting.data, held) }),
      ...(setting.questions === null ? {} : { evalLimit: setting.questions }),
    },
    output,
  );
  const sparseForm =
    job.sparseEvaluation && sparsityFile !== null && spec !== null
      ? await sparseAnswers(setting, sparsityFile, spec, trainFile(setting, job.task))
      : null;
  const { stepSeconds } = run.training;
  trace?.finish(stepSeconds);
  const history = run.training.state.logHistory;
  const losses = history.flatMap(({ loss }) => (loss === undefined ? [] : [loss]));
  const last = losses.slice(-Math.max(1, Math.floor(losses.length / 4)));
  const evaluated = history.flatMap((entry) => (entry.eval_loss === undefined ? [] : [entry.eval_loss])).at(-1) ?? null;
  return {
    accuracies: Object.fromEntries(run.evaluations.map(({ task, accuracy }) => [task, accuracy])),
    majority: Object.fromEntries(run.evaluations.map((one) => [one.task, majorityOf(one)])),
    form: formOf(run.evaluations.find(({ task }) => task === 'mawps')),
    ...(sparseForm && { sparseForm }),
    flopsShare: run.flopsShare * (job.flops ?? 1),
    secondsPerStep: run.training.speed.secondsPerStep,
    meanSecondsPerStep: stepSeconds.reduce((sum, seconds) => sum + seconds, 0) / Math.max(1, stepSeconds.length),
    ...(trace && { trace: { ...trace.summary(loggingSteps), lines: trace.lines } }),
    trainLoss: job.trains ? run.training.trainLoss : null,
    lastTrainLoss: job.trains ? last.reduce((sum, loss) => sum + loss, 0) / last.length : null,
    denseHeldOutLoss: evaluated,
    sparseHeldOutLoss,
    steps: job.trains ? run.training.globalStep : 0,
    ...(endStep === null ? {} : { endStep }),
    seconds: (performance.now() - started) / 1000,
  };
}

/** What kept channels are rounded up to on cuda. */
const CHANNEL_MULTIPLE = 16;

/** Writes into the sparsity file where sparsity must end for the job's budget; null where it has none. */
async function fitBudget(
  { budget, task, training }: Job,
  setting: JobSetting,
  sparsityFile: string | null,
  steps: number,
): Promise<number | null> {
  if (budget === undefined || sparsityFile === null) return null;
  const text = await readFile(sparsityFile, 'utf8');
  const config = await loadSpftConfig(sparsityFile);
  const directory = await openModelDirectory(setting.model);
  const samples = await samplesOf(setting, trainFile(setting, task));
  const channelMultiple = setting.backend === 'cuda' ? CHANNEL_MULTIPLE : 1;
  const share = sparseStepShare(directory.config, samples, config, {
    ...{ rank: setting.rank, targets: training?.targets, channelMultiple },
  });
  await directory.close();
  const { startStep, denseEvery } = config;
  const start = Math.ceil(startStep <= 1 ? startStep * steps : startStep);
  const endStep = endWithin(budget, share, { steps, start, denseEvery });
  // Up to 1 would be a fraction.
  const lines = text.split('\n').filter((line) => !line.startsWith('end_step:'));
  await writeFile(sparsityFile, [`end_step: ${Math.max(2, endStep)}`, ...lines].join('\n'));
  return endStep;
}

/** Rows as samples, as the run itself has them for its dense loss. */
async function samplesOf({ model, template }: JobSetting, path: string): Promise<Sample[]> {
  const [{ records }, tokenizer] = [await loadDataset(path), await loadTokenizer(model)];
  const options = { template: promptTemplate(template), maxLength: MAX_LENGTH };
  return records
    .map((record) => tokenizeRecord(tokenizer, record as InstructionRecord, options))
    .filter(({ labels }) => labels.some((label: number) => label !== -100));
}

/** Form and content of the adapter's answers to MAWPS, the questions read sparsely: `spft eval --sparsity`. */
async function sparseAnswers(
  { model, directory, backend, template, questions }: JobSetting,
  sparsityFile: string,
  dataset: string,
  calibration: string,
): Promise<FormCounts | null> {
  const path = join(directory, 'sparse-answers.jsonl');
  const given: Readonly<Record<string, string>> = {
    ...{ model, adapter: directory, dataset, sparsity: sparsityFile, calibration, template, predictions: path },
    ...{ batch_size: '64', model_max_length: String(MAX_LENGTH) },
    ...(questions === null ? {} : { limit: String(questions) }),
  };
  const argv = Object.entries(given).flatMap(([name, value]) => [`--${name}`, value]);
  const code = await main(['--backend', backend, 'eval', ...argv]);
  if (code !== 0) throw new Error(`study: spft eval ${argv.join(' ')} ended with ${code}`);
  const lines = (await readFile(path, 'utf8')).split('\n').filter(Boolean);
  const predictions = lines
    .map((line) => JSON.parse(line) as EvaluationResult['predictions'][number] & { readonly task: string })
    .filter(({ task }) => task === 'mawps');
  return formOf({ predictions });
}

/** Mean loss of a labelled token where the context is computed as in a sparse step. */
async function sparseLoss(model: TrainableModel, samples: readonly Sample[]): Promise<number> {
  const { sparsity } = model as unknown as SpftModel<TrainableModel>;
  const was = sparsity.plan.enabled;
  let [sum, labels] = [0, 0];
  try {
    sparsity.plan.enabled = true;
    for (let start = 0; start < samples.length; start += 16) {
      const batch = collate(samples.slice(start, start + 16), { denseTokens: sparsity.denseTokens });
      const loss = noGradient(() =>
        tf.tidy(() => model.loss(batch, { training: false, seed: 0, normalizer: batch.labelCount })),
      );
      sum += (await loss.data())[0]! * batch.labelCount;
      labels += batch.labelCount;
      loss.dispose();
    }
  } finally {
    sparsity.plan.enabled = was;
  }
  return sum / labels;
}

function majorityOf({ predictions }: EvaluationResult): number {
  const counts = new Map<string, number>();
  for (const { expected } of predictions) counts.set(expected, (counts.get(expected) ?? 0) + 1);
  return Math.max(0, ...counts.values()) / predictions.length;
}

/** `job FILE`: what the driver starts; reads what to do, writes what came of it. */
export async function jobFromFile(path: string): Promise<void> {
  const { job, setting, sparsityFile, result } = JSON.parse(await readFile(path, 'utf8')) as {
    job: Job;
    setting: JobSetting;
    sparsityFile: string | null;
    result: string;
  };
  const numbers = await runJob(job, setting, sparsityFile, new Output(processIo(), true));
  await writeFile(result, JSON.stringify(numbers));
}
