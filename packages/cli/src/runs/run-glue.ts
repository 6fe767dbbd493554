/**
 * @file GLUE over tasks and seeds: the body is opened once, each run gets a head and an adapter of its own, and the table of means and
 * deviations that the original leaves to its users is made at the end.
 */
import { join } from 'node:path';
import type { SpftConfig, TrainConfig } from '@spft/config';
import { loadTrainConfig } from '@spft/config/node';
import type { SpftModel } from '@spft/estimator';
import { LlamaForSequenceClassification } from '@spft/models';
import { getPeftModel, type PeftModel } from '@spft/peft';
import { savePretrained } from '@spft/peft/node';
import { writeFileAtomically } from '@spft/safetensors/node';
import { type Sample, Trainer } from '@spft/trainer';
import {
  classify,
  GLUE_TASKS,
  type GlueExample,
  type GlueTask,
  glueMetrics,
  glueSample,
  glueTask,
} from '@spft/trainer/benchmarks';
import { subset } from '@spft/trainer/internals';
import { directoryCheckpoints, type GlueData, JsonlLogger, loadGlue, terminalProgress } from '@spft/trainer/node';
import { CliError } from '../errors.js';
import { attachSparsity, readSparsity } from '../steps/attach-sparsity.js';
import { adapterMethod, chooseOutliers, frozenOptions, precisionNote } from '../steps/frozen-base.js';
import { openBackend } from '../steps/open-backend.js';
import { type OpenedModel, openModel } from '../steps/open-model.js';
import { inDirectory, refuseOtherRun } from '../steps/output-directory.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';
import { table } from '../terminal/table.js';
import { ignoredKeys } from './run-request.js';
import type { TrainFlags } from './run-train.js';

export interface GlueFlags extends TrainFlags {
  readonly tasks?: string;
  readonly seeds?: string;
  readonly data?: string;
  readonly trainFile?: string;
  readonly validationFile?: string;
  readonly maxTrainSamples?: number;
  readonly maxValSamples?: number;
  readonly sparseEval?: boolean;
}

/** The original's. */
const SEEDS = '42,43,44,45,46';
const DEFAULTS: Readonly<Record<string, string | boolean>> = {
  ...{ max_seq_length: '128', eval_strategy: 'epoch', save_strategy: 'no', output_dir: 'glue_output' },
};

/** Of one task over its seeds. */
export interface GlueSummary {
  readonly task: string;
  readonly n: number;
  /** By metric; `std` is the sample's (n − 1), 0 for one seed. */
  readonly metrics: Readonly<
    Record<string, { readonly mean: number; readonly std: number; readonly values: readonly number[] }>
  >;
  readonly majority: number | null;
}

export async function runGlue(flags: GlueFlags, backend: string | undefined, output: Output): Promise<void> {
  const given = flags.config === undefined ? { ...DEFAULTS, ...flags.keys } : { ...withoutFileKeys(), ...flags.keys };
  const config = await loadTrainConfig(flags.config ?? null, given);
  for (const note of ignoredKeys(config)) output.warn(note);
  if (config.modelNameOrPath === null) throw new CliError('glue needs --model DIR_OR_HUB_ID');
  if (config.peft === null) throw new CliError("peft: 'none' would train the head alone; choose lora or dora");
  const tasks = (flags.tasks ?? GLUE_TASKS.map(({ name }) => name).join(','))
    .split(',')
    .map((name) => glueTask(name.trim()));
  const seeds = (flags.seeds ?? SEEDS).split(',').map((text) => {
    if (/^\s*\d+\s*$/.test(text)) return Number(text);
    throw new CliError(`--seeds: wanted whole numbers joined by commas, found '${text}'`);
  });
  const twice = seeds.find((seed, n) => seeds.indexOf(seed) !== n);
  if (twice !== undefined) throw new CliError(`--seeds: ${twice} is given twice`);
  if (!flags.overwriteOutputDir) {
    for (const directory of tasks.flatMap((task) => seeds.map((seed) => directoryOf(config, task, seed))))
      await refuseOtherRun(directory, directoryCheckpoints(directory));
  }
  await preparePath(flags.json);
  const sparsity = await readSparsity(config, Object.keys(flags.keys), flags.sparsityMode, output);
  const data = new Map<string, GlueData>();
  for (const task of tasks) data.set(task.name, await openData(task, flags, config, output));
  await openBackend(backend, output);
  const note = precisionNote(config);
  if (note !== null) output.note(note);
  const opened = await openModel(config.modelNameOrPath, output, {
    revision: flags.revision,
    ...frozenOptions(config),
  });
  const summaries: GlueSummary[] = [];
  try {
    for (const task of tasks) {
      const runs: Record<string, number>[] = [];
      for (const seed of seeds) {
        const directory = directoryOf(config, task, seed);
        const run = { task, seed, data: data.get(task.name)!, config, sparsity, flags, opened, directory };
        const plan = { resumes: false, overwrite: flags.overwriteOutputDir ?? false };
        runs.push(await inDirectory(directory, directoryCheckpoints(directory), plan, () => runSeed(run, output)));
      }
      summaries.push(summaryOf(task, runs, data.get(task.name)!));
      await writeJsonFile(join(config.outputDir, task.name, 'summary.json'), summaries.at(-1));
    }
  } finally {
    opened.model.dispose();
  }
  const text = summaryTable(summaries);
  output.print(text);
  await writeText(join(config.outputDir, 'summary.md'), `${markdown(summaries)}\n`);
  const result = {
    command: 'glue',
    model: config.modelNameOrPath,
    sparsity: sparsity?.mode ?? 'dense',
    evaluation: flags.sparseEval ? 'sparse' : 'dense',
    deviation: 'sample (n - 1)',
    seeds,
    tasks: summaries,
  };
  await writeJsonFile(join(config.outputDir, 'summary.json'), result);
  await writeJson(flags.json, result, output);
}

/** With a training file only what no file has a say in. */
const withoutFileKeys = () => ({ output_dir: DEFAULTS.output_dir!, save_strategy: 'no' });

async function openData(task: GlueTask, flags: GlueFlags, config: TrainConfig, output: Output): Promise<GlueData> {
  const status = output.task(`data ${task.name}`);
  try {
    const { data, trainFile, validationFile, maxTrainSamples, maxValSamples } = flags;
    const all = await loadGlue(task, { data, trainFile, validationFile, skipBadRows: config.skipBadRows });
    const limit = (examples: readonly GlueExample[], count: number | undefined) =>
      count === undefined ? examples : subset(examples, count);
    const limited: GlueData = {
      train: limit(all.train, maxTrainSamples),
      evaluated: new Map([...all.evaluated].map(([name, examples]) => [name, limit(examples, maxValSamples)])),
      badRows: all.badRows,
    };
    const counts = [...limited.evaluated].map(([name, { length }]) => `${name} ${length}`).join(', ');
    status.done(`${limited.train.length} rows, evaluated: ${counts}`);
    if (all.badRows.length > 0)
      output.warn(`${all.badRows.length} rows were skipped; the first: ${all.badRows[0]!.problem}`);
    return limited;
  } catch (error) {
    status.fail();
    throw error;
  }
}

const directoryOf = ({ outputDir }: TrainConfig, { name }: GlueTask, seed: number) =>
  join(outputDir, name, String(seed));

interface SeedRun {
  readonly task: GlueTask;
  readonly seed: number;
  readonly data: GlueData;
  readonly config: TrainConfig;
  readonly sparsity: SpftConfig | null;
  readonly flags: GlueFlags;
  readonly opened: OpenedModel;
  readonly directory: string;
}

/** One run. @returns its metrics, e.g. `rte_accuracy`. */
async function runSeed(run: SeedRun, output: Output): Promise<Record<string, number>> {
  const { task, seed, data, config, sparsity, flags, opened, directory } = run;
  output.note(`${task.name}, seed ${seed}`);
  const { tokenizer, model: body } = opened;
  const maxLength = Math.min(config.maxSeqLength, config.modelMaxLength);
  const samples = data.train.map((example) => glueSample(tokenizer, example, task, maxLength));
  const evaluated = [...data.evaluated].map(([name, examples]) => ({
    name,
    labels: examples.map(({ label }) => label),
    samples: examples.map((example) => glueSample(tokenizer, example, task, maxLength)),
  }));
  const model = new LlamaForSequenceClassification(body, { classes: Math.max(1, task.classes.length), seed });
  // Of the first run: the base is the same in all of them, and keeps its channels.
  chooseOutliers(config, model, samples);
  let peft: PeftModel<LlamaForSequenceClassification> | null = null;
  let spft: SpftModel<PeftModel<LlamaForSequenceClassification>> | null = null;
  try {
    peft = getPeftModel(
      model,
      {
        ...{
          r: config.loraR,
          loraAlpha: config.loraAlpha,
          loraDropout: config.loraDropout,
          useRslora: config.useRslora,
        },
        targetModules: targetsOf(config.loraTargetModules),
        taskType: 'SEQ_CLS',
        baseModelNameOrPath: opened.name,
        extra: { modules_to_save: ['classifier', 'score'] },
      },
      { seed, method: adapterMethod(config.peft!) },
    );
    spft = sparsity && (await attachSparsity(peft, opened, sparsity, output));
    const evaluate = async () => {
      const plan = spft?.plan;
      const enabled = plan?.enabled ?? false;
      if (plan) plan.enabled = enabled && (flags.sparseEval ?? false);
      try {
        return await evaluation(model, task, evaluated, config.perDeviceEvalBatchSize, plan?.enabled !== true);
      } finally {
        if (plan) plan.enabled = enabled;
      }
    };
    const epochs = flags.keys.num_train_epochs === undefined ? task.epochs : config.numTrainEpochs;
    const trainer = new Trainer({
      model: spft ?? peft,
      samples,
      unlabelledSamples: 'skip',
      args: { ...config, seed, numTrainEpochs: epochs, resumeFromCheckpoint: null, loadBestModelAtEnd: false },
      evaluator: evaluate,
      callbacks: [new JsonlLogger(join(directory, 'log.jsonl'), { run: `${task.name}_${seed}` })],
      ...(output.quiet
        ? {}
        : { progress: terminalProgress({ label: `${task.name} ${seed}`, output: output.io.stderr }) }),
      notify: (message) => output.note(message),
    });
    const training = await trainer.train();
    const started = performance.now();
    const metrics = await evaluate();
    const seconds = (performance.now() - started) / 1000;
    await savePretrained(peft, directory);
    const prefixed = Object.fromEntries(Object.entries(metrics).map(([name, value]) => [`eval_${name}`, value]));
    const results = {
      ...{
        epoch: training.state.epoch,
        eval_runtime: seconds,
        eval_samples: evaluated.reduce((sum, one) => sum + one.samples.length, 0),
      },
      ...{ evaluation: flags.sparseEval && spft ? 'sparse' : 'dense', ...prefixed },
    };
    const train = {
      ...{ epoch: training.state.epoch, train_loss: training.trainLoss, train_samples: trainer.plan.samples },
      train_seconds_per_step: training.speed.secondsPerStep,
    };
    await writeJsonFile(join(directory, 'train_results.json'), train);
    await writeJsonFile(join(directory, 'eval_results.json'), results);
    await writeJsonFile(join(directory, 'all_results.json'), { ...train, ...results });
    await writeJsonFile(join(directory, 'trainer_state.json'), training.state);
    return metrics;
  } finally {
    spft?.dispose();
    peft?.dispose();
    model.dispose();
  }
}

/** Metrics of every evaluated split by name: of one split without, of several with the split's name before them. */
async function evaluation(
  model: LlamaForSequenceClassification,
  task: GlueTask,
  evaluated: readonly {
    readonly name: string;
    readonly samples: readonly Sample[];
    readonly labels: readonly (number | null)[];
  }[],
  batchSize: number,
  dense: boolean,
): Promise<Record<string, number>> {
  const all: Record<string, number> = {};
  for (const { name, samples, labels } of evaluated) {
    const { predictions, loss } = await classify(model, samples, labels, batchSize, dense);
    const metrics = { ...glueMetrics(task.metrics, predictions, labels as readonly number[]), loss };
    for (const [metric, value] of Object.entries(metrics))
      all[name === task.name ? metric : `${name}_${metric}`] = value;
  }
  return all;
}

function summaryOf(task: GlueTask, runs: readonly Record<string, number>[], data: GlueData): GlueSummary {
  const names = Object.keys(runs[0]!).filter((name) => !name.endsWith('loss'));
  const metrics = Object.fromEntries(
    names.map((name) => {
      const values = runs.map((run) => run[name]!);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
      return [name, { mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0, values }];
    }),
  );
  return { task: task.name, n: runs.length, metrics, majority: majorityOf(task, [...data.evaluated.values()][0]!) };
}

/** The share of the most frequent class: what guessing it would reach. */
function majorityOf(task: GlueTask, examples: readonly GlueExample[]): number | null {
  if (task.classes.length === 0) return null;
  const counts = task.classes.map((_, c) => examples.filter(({ label }) => label === c).length);
  return Math.max(...counts) / examples.length;
}

const inPercent = (value: number) => (value * 100).toFixed(2);

function summaryRows(summaries: readonly GlueSummary[]): string[][] {
  return summaries.flatMap(({ task, n, metrics, majority }) =>
    Object.entries(metrics).map(([name, { mean, std }]) => [
      ...[task, name, inPercent(mean), inPercent(std), String(n)],
      name.endsWith('accuracy') && majority !== null ? inPercent(majority) : '',
    ]),
  );
}

const HEAD = ['task', 'metric', 'mean', '± (n − 1)', 'n', 'majority'];

const summaryTable = (summaries: readonly GlueSummary[]) => table(HEAD, summaryRows(summaries));

const markdown = (summaries: readonly GlueSummary[]) =>
  [HEAD, HEAD.map((_, n) => (n < 2 ? '---' : '--:')), ...summaryRows(summaries)]
    .map((row) => `| ${row.join(' | ')} |`)
    .join('\n');

const writeJsonFile = (path: string, value: unknown) => writeText(path, `${JSON.stringify(value, null, 2)}\n`);

const writeText = (path: string, text: string) => writeFileAtomically(path, (handle) => handle.writeFile(text));

const targetsOf = (targets: readonly string[]) =>
  targets.length === 1 && /^all-linear$/i.test(targets[0]!) ? 'all-linear' : targets;
