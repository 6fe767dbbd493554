/**
 * @file The quickstart: a small Llama learns to answer word problems that its base cannot, once by LoRA and once by SparseLoRA.
 *
 * Read it from top to bottom: load, ask, train by both methods, ask again; then adapters and a report. Everything in it is a package's public
 * function. One run takes about two minutes on two cores without a GPU.
 */
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { activateBackend } from '@spft/backends';
import type { TrainConfig } from '@spft/config';
import { loadSpftConfig, loadTrainConfig } from '@spft/config/node';
import { getSpftModel, type SpftModel } from '@spft/estimator';
import { predictorDirectory } from '@spft/estimator/node';
import { countLabelledTokens, flopsShare, generate, type LlamaForCausalLM, type Tokenizer } from '@spft/models';
import { fromPretrained, loadTokenizer } from '@spft/models/node';
import { getPeftModel, type PeftModel } from '@spft/peft';
import { savePretrained } from '@spft/peft/node';
import { writeFileAtomically } from '@spft/safetensors/node';
import {
  collate,
  type EvaluationTask,
  evaluateTask,
  type ReportMethod,
  type Sample,
  SparsityStatistics,
  Trainer,
  type TrainOutput,
  tokenizeRecords,
} from '@spft/trainer';
import { loadDataset, loadTasks, writeReport } from '@spft/trainer/node';
import type { Options } from './options.js';
import { sharedProgress, takeTurns } from './side-by-side.js';

const here = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

/** The prompt around a question; the base's tokenizer has its words whole. */
const TEMPLATE = 'alpaca';

export interface MethodResult {
  readonly name: 'lora' | 'sparselora' | 'qlora' | 'sparseqlora';
  readonly accuracyBefore: number;
  readonly accuracyAfter: number;
  readonly secondsPerStep: number;
  readonly flopsShare: number;
}

export interface QuickstartResult {
  readonly methods: readonly MethodResult[];
  readonly backend: string;
  readonly wallSeconds: number;
}

/** What both methods share. */
interface Setting {
  readonly options: Options;
  readonly tokenizer: Tokenizer;
  readonly samples: readonly Sample[];
  readonly task: EvaluationTask;
  readonly config: TrainConfig;
  readonly say: (line: string) => void;
}

/** @param say prints a line for the reader. */
export async function quickstart(
  options: Options,
  say: (line: string) => void = console.log,
): Promise<QuickstartResult> {
  const started = performance.now();
  const backend = await activateBackend(options.backend);
  say(`backend    ${backend.why}`);

  // QLoRA: the frozen weights in codes of 4 bits, as bitsandbytes has them.
  const frozen = options.peft === 'qlora' ? ({ basePrecision: 'nf4', doubleQuantisation: true } as const) : {};
  const [model, sparseModel] = [await fromPretrained(here('base'), frozen), await fromPretrained(here('base'), frozen)];
  const tokenizer = await loadTokenizer(here('base'));
  say(`base       ${model.layerCount} layers, ${(model.parameterCount / 1e6).toFixed(1)} M parameters`);

  const config = await loadTrainConfig(
    here('config/train.yaml'),
    options.steps === null ? {} : { max_steps: options.steps },
  );
  const { records } = await loadDataset(here('data/train.json'));
  const { samples } = tokenizeRecords(tokenizer, records, { template: TEMPLATE, maxLength: config.modelMaxLength });
  const [task] = await loadTasks(here('data/test.json'));
  const setting: Setting = { options, tokenizer, samples, task: task!, config, say };

  const accuracyBefore = await ask(setting, model, 'base');
  const contenders = [
    await prepare(setting, model, options.peft),
    await prepare(setting, sparseModel, `sparse${options.peft}`),
  ];
  const trained = await train(setting, contenders);
  const results = [];
  for (const [n, contender] of contenders.entries())
    results.push(await conclude(setting, contender, trained[n]!, accuracyBefore));
  model.dispose();
  sparseModel.dispose();

  const result = {
    methods: results.map((r) => r.method),
    backend: backend.name,
    wallSeconds: (performance.now() - started) / 1000,
  };
  await writeReport(join(options.out, 'report.html'), {
    title: `${titleOf(options.peft)} and ${titleOf(`sparse${options.peft}`)} on a small Llama`,
    summary:
      'The quickstart of spft: a base model that cannot answer word problems learns to, with all channels of the frozen weights (LoRA) ' +
      'and with the few that matter for the context tokens of each batch (SparseLoRA).',
    facts: {
      backend: backend.why,
      'training data': `${samples.length} problems, ${config.maxSteps} steps of ${config.perDeviceTrainBatchSize}`,
      'held-out questions': String(Math.min(options.questions, task!.examples.length)),
      seed: String(config.seed),
    },
    methods: results.map((r) => r.report),
  });
  if (options.json !== null) {
    const text = `${JSON.stringify(result, null, 2)}\n`;
    await writeFileAtomically(options.json, (handle) => handle.writeFile(text));
  }
  return result;
}

/** `SparseQLoRA` of `sparseqlora`. */
const titleOf = (name: MethodResult['name']) =>
  name.replace('sparse', 'Sparse').replace('qlora', 'QLoRA').replace('lora', 'LoRA');

/** A base with an adapter on it, and sparsity if that is its method. */
interface Contender {
  readonly name: MethodResult['name'];
  readonly model: LlamaForCausalLM;
  readonly peft: PeftModel<LlamaForCausalLM>;
  readonly sparse: SpftModel<PeftModel<LlamaForCausalLM>> | null;
  readonly statistics: SparsityStatistics | null;
}

async function prepare(
  { config, options }: Setting,
  model: LlamaForCausalLM,
  name: Contender['name'],
): Promise<Contender> {
  const peft = getPeftModel(
    model,
    { r: config.loraR, loraAlpha: config.loraAlpha, targetModules: config.loraTargetModules },
    { seed: config.seed },
  );
  const sparse = name.startsWith('sparse') ? await withSparsity(peft, options) : null;
  const statistics = sparse && new SparsityStatistics(sparse.plan, { layerCount: model.layerCount, every: 5 });
  return { name, model, peft, sparse, statistics };
}

/** Fine-tunes all at once, step by step in turn. */
async function train({ samples, config }: Setting, contenders: readonly Contender[]): Promise<TrainOutput[]> {
  const turns = takeTurns(contenders.length);
  const progress = sharedProgress(contenders.map(({ name }) => name));
  const trainers = contenders.map(
    ({ peft, sparse, statistics }, n) =>
      new Trainer({
        model: sparse ?? peft,
        samples,
        args: config,
        callbacks: [...(statistics ? [statistics] : []), turns[n]!],
        progress: progress[n]!,
      }),
  );
  return Promise.all(trainers.map((trainer) => trainer.train()));
}

/** Asks the held-out questions of what was trained, saves its adapter, and takes it off the base. */
async function conclude(
  setting: Setting,
  { name, model, peft, sparse, statistics }: Contender,
  { speed, state }: TrainOutput,
  accuracyBefore: number,
): Promise<{ method: MethodResult; report: ReportMethod }> {
  sparse?.disable();
  const accuracyAfter = await ask(setting, model, name);
  await savePretrained(peft, join(setting.options.out, name));
  const method: MethodResult = {
    name,
    accuracyBefore,
    accuracyAfter,
    secondsPerStep: speed.secondsPerStep!,
    flopsShare: sparse ? shareOfFlops(setting, model, sparse) : 1,
  };
  const report: ReportMethod = {
    ...method,
    name: titleOf(name),
    ...(speed.tokensPerSecond !== null && { tokensPerSecond: speed.tokensPerSecond }),
    trainableParameters: peft.parameterCount().trainable,
    logHistory: state.logHistory,
    ...(statistics && { sparsity: statistics.map() }),
  };
  sparse?.dispose();
  peft.dispose();
  return { method, report };
}

async function withSparsity(
  peft: PeftModel<LlamaForCausalLM>,
  options: Options,
): Promise<SpftModel<PeftModel<LlamaForCausalLM>>> {
  const sparsity = await loadSpftConfig(here('config/sparsity.yaml'));
  return getSpftModel(peft, sparsity, {
    predictors: predictorDirectory(join(options.out, `predictors-${options.peft}`)),
  });
}

/** Share of the held-out questions that are answered right. */
async function ask(
  { options, tokenizer, task, say }: Setting,
  model: LlamaForCausalLM,
  label: string,
): Promise<number> {
  const live = process.stderr.isTTY;
  const result = await evaluateTask((prompts, limits) => generate(model, prompts, limits), tokenizer, task, {
    template: TEMPLATE,
    batchSize: 50,
    maxNewTokens: 32,
    limit: options.questions,
    onProgress: ({ done, total, correct }) => {
      if (live) process.stderr.write(`\r\x1b[2K${label}: ${done} of ${total} questions asked, ${correct} right`);
    },
  });
  if (live) process.stderr.write('\r\x1b[2K');
  const { output, expected } = result.predictions[0]!;
  say(`${label.padEnd(10)} ${result.correct} of ${result.total} right, e.g. "${output.split('\n')[0]}" (${expected})`);
  return result.accuracy;
}

/** A sparse step's arithmetic relative to a dense one's, over all the training data. */
function shareOfFlops({ samples, config }: Setting, model: LlamaForCausalLM, { plan, denseTokens }: SpftModel): number {
  const batch = collate(
    samples.map((sample, index) => ({ ...sample, index })),
    { denseTokens, seed: config.seed },
  );
  return flopsShare(
    model.config,
    { layout: batch.layout, labelledTokens: countLabelledTokens(batch) },
    {
      adapters: { rank: config.loraR, targets: config.loraTargetModules },
      sparsity: plan.layers,
      predictorRank: 8,
    },
  );
}
