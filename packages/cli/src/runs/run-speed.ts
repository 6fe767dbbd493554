/**
 * @file `spft speed`: how fast methods are beside each other on real batches. What the original's `scripts/speedup.sh` measures, with what it lacks: the
 * methods take turns, set-up is not in the time, seeds differ, and spread, intervals, FLOPs and memory are told.
 */
import { cpus, totalmem } from 'node:os';
import type { SpftConfig, TrainConfig } from '@spft/config';
import { loadTrainConfig } from '@spft/config/node';
import { nearestName } from '@spft/safetensors/internals';
import { writeFileAtomically } from '@spft/safetensors/node';
import { barChart } from '@spft/trainer';
import {
  BOOTSTRAP,
  type SpeedRatio,
  type SpeedStatistics,
  speedRatio,
  speedStatistics,
} from '@spft/trainer/benchmarks';
import * as tf from '@tensorflow/tfjs';
import { CliError } from '../errors.js';
import { readSparsity } from '../steps/attach-sparsity.js';
import { formsOf, frozenOptions, wants4Bits } from '../steps/frozen-base.js';
import { openBackend } from '../steps/open-backend.js';
import { type BaseModel, openModel } from '../steps/open-model.js';
import { openRandomModel, shapeNamed } from '../steps/random-model.js';
import { openTokenizer, realData, type SpeedData, simulatedData } from '../steps/speed-data.js';
import { memoryIsCountedBy, type SpeedMethod, type SpeedRun, speedRun } from '../steps/speed-run.js';
import { DEFAULT_TEMPLATE, knownTemplate } from '../steps/template.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import { Output } from '../terminal/output.js';
import { bytes, percent, table } from '../terminal/table.js';

export interface SpeedFlags {
  /** Training keys by their names in files. */
  readonly keys: Readonly<Record<string, string | boolean>>;
  readonly config?: string;
  readonly methods?: string;
  readonly shape?: string;
  readonly tokenizer?: string;
  readonly warmup?: number;
  readonly steps?: number;
  readonly runs?: number;
  readonly sparsityMode?: string;
  readonly template?: string;
  readonly revision?: string;
  readonly picture?: string;
  readonly json?: string;
}

/** One method's measurements. */
export interface SpeedResult {
  readonly method: string;
  /** Why there is nothing more; null where it was measured. */
  readonly failure: string | null;
  /** How the base's linear layers are stored; null where they are plain. */
  readonly frozenWeights: string | null;
  /** Seconds of each timed step, run by run. */
  readonly seconds: readonly (readonly number[])[];
  readonly statistics: SpeedStatistics | null;
  /** Against the first method. */
  readonly ratio: SpeedRatio | null;
  readonly tokensPerSecond: number | null;
  readonly flopsPerStep: number | null;
  /** Of a dense step of the same adapter. */
  readonly flopsShare: number | null;
  readonly peakMemoryBytes: number | null;
  readonly trainableParameters: number | null;
  readonly losses: readonly [first: number, last: number] | null;
}

const WHOLE_RUN = { spft_start_step: '0', spft_end_step: '1' };
const METHODS = ['lora', 'dora', 'qlora', 'qdora', 'sparselora', 'sparsedora', 'sparseqlora', 'sparseqdora'] as const;

/** @throws CliError for a method that there is not. */
function parseSpeedMethods(text: string): SpeedMethod[] {
  const names = text.split(',').map((name) => name.trim());
  const twice = names.find((name, n) => names.indexOf(name) !== n);
  if (twice !== undefined) throw new CliError(`--methods: ${twice} is there twice`);
  return names.map((name) => {
    if ((METHODS as readonly string[]).includes(name))
      return { name, peft: name.replace(/^sparse/, ''), isSparse: name.startsWith('sparse') };
    const near = nearestName(name, METHODS);
    throw new CliError(
      `--methods: there is no method '${name}'${near === null ? '' : `; did you mean '${near}'?`} (there are ${METHODS.join(', ')})`,
    );
  });
}

export async function runSpeed(flags: SpeedFlags, backend: string | undefined, output: Output): Promise<void> {
  const { warmup = 20, steps = 50, runs = 5 } = flags;
  // Sparse steps are what is measured: from the first to the last, unless asked otherwise.
  const asked = await loadTrainConfig(flags.config ?? null, flags.keys);
  const keys = { ...(asked.spft === null ? {} : WHOLE_RUN), ...flags.keys };
  const config = await loadTrainConfig(flags.config ?? null, keys);
  const methods = parseSpeedMethods(flags.methods ?? (config.spft === null ? 'lora,dora' : 'lora,dora,sparselora'));
  checkAsked(flags, config, methods);
  await preparePath(flags.json);
  await preparePath(flags.picture);
  const sparsity = await readSparsity(config, Object.keys(keys), flags.sparsityMode, output);

  const { name } = await openBackend(backend, output);
  const visits = config.perDeviceTrainBatchSize * config.gradientAccumulationSteps * (warmup + steps) * runs;
  const data = await openRows(flags, config, visits, output);
  const bases = new SpeedBases((peft, said) => openBase(flags, { ...config, peft }, said), output);
  const batchSize = 'per_device_train_batch_size' in keys ? null : data.batchSize;
  const settled = batchSize === null ? config : { ...config, perDeviceTrainBatchSize: batchSize };
  let results: SpeedResult[];
  try {
    results = await measure({ methods, bases, data, config: settled, sparsity, warmup, steps, runs }, output);
  } finally {
    bases.dispose();
  }

  const what = `${flags.shape ?? config.modelNameOrPath}, ${config.dataset}${data.kind === 'simulated' ? ' (simulated rows)' : ''}, batch ${settled.perDeviceTrainBatchSize}${settled.gradientAccumulationSteps > 1 ? ` × ${settled.gradientAccumulationSteps}` : ''}`;
  output.print(resultTable(results));
  output.note(
    `${what}, on ${name}: ${runs} runs of ${steps} steps after ${warmup}, methods in turns; × is how much faster than ${methods[0]!.name}, ` +
      `[95 % interval: bootstrap of runs, then of steps, in pairs]; memory: ${memoryIsCountedBy() === 'pool' ? "the device's pool" : 'all tensors'} at the highest point of a step`,
  );
  if (flags.picture !== undefined) {
    const picture = speedPicture(results, `Milliseconds a training step, ${what}, ${name}; shorter is better`);
    await writeFileAtomically(flags.picture, (handle) => handle.writeFile(picture));
  }
  const environment = {
    ...{ platform: `${process.platform} ${process.arch}`, node: process.version, cores: cpus().length },
    ...{ processor: cpus()[0]?.model.trim() ?? null, memoryBytes: totalmem(), date: new Date().toISOString() },
  };
  const summary = {
    command: 'speed',
    ...{ model: flags.shape === undefined ? config.modelNameOrPath : null, shape: flags.shape ?? null },
    ...{ dataset: config.dataset, rows: data.kind, backend: name, environment },
    batchSize: settled.perDeviceTrainBatchSize,
    gradientAccumulationSteps: settled.gradientAccumulationSteps,
    ...{ warmup, steps, runs, memoryCountedBy: memoryIsCountedBy() },
    sparsity: sparsity?.mode ?? null,
    interval: { ...BOOTSTRAP, method: 'percentile bootstrap: runs with replacement, in each its steps, in pairs' },
    methods: results,
  };
  await writeJson(flags.json, summary, output);
  const failed = results.filter(({ failure }) => failure !== null);
  if (failed.length === results.length) throw new CliError('no method could be measured; see above');
}

function checkAsked(flags: SpeedFlags, config: TrainConfig, methods: readonly SpeedMethod[]): void {
  if ((config.modelNameOrPath === null) === (flags.shape === undefined)) {
    throw new CliError(
      `speed needs --model DIR_OR_HUB_ID or --shape NAME${flags.shape === undefined ? '' : ', and not both: with a shape, --tokenizer says whose tokens the rows are made of'}`,
    );
  }
  if (flags.shape !== undefined) shapeNamed(flags.shape);
  if (config.dataset === null) throw new CliError('speed needs --dataset math10k|csr170k|FILE');
  const sparse = methods.find(({ isSparse }) => isSparse);
  if (sparse && config.spft === null) throw new CliError(`--methods ${sparse.name} needs --sparsity FILE`);
  if (/^auto(:|$)/.test(config.spft ?? '')) {
    throw new CliError('--sparsity auto plans while it trains; make the file first: spft sparsity plan --out FILE');
  }
}

/** The rows that all methods see. */
async function openRows(flags: SpeedFlags, config: TrainConfig, visits: number, output: Output): Promise<SpeedData> {
  const dataset = config.dataset!;
  const named = flags.template ?? (config.chatTemplateFormat === null ? null : 'chat');
  const choice = {
    template: named === null ? DEFAULT_TEMPLATE : { name: knownTemplate(named), format: config.chatTemplateFormat },
    isNamed: named !== null,
  };
  const from = flags.shape === undefined ? config.modelNameOrPath! : flags.tokenizer;
  if (from === undefined) return simulatedData(dataset, shapeNamed(flags.shape!).vocabSize);
  const revision = flags.shape === undefined ? flags.revision : undefined;
  return realData(dataset, config, { ...(await openTokenizer(from, output, revision)), choice, visits }, output);
}

/** The frozen model as the method `config.peft` has it. */
async function openBase(flags: SpeedFlags, config: TrainConfig, output: Output): Promise<BaseModel> {
  const how = frozenOptions(config);
  if (flags.shape === undefined) {
    return openModel(config.modelNameOrPath!, output, { revision: flags.revision, ...how });
  }
  const model = await openRandomModel(flags.shape, output, how);
  // The same weights every time, so predictors of them may be kept.
  return { name: flags.shape, model, fingerprint: `random-1-${flags.shape}`, isFloat32: false };
}

/** One frozen model at a time, so that none is in another's peak of memory: opened anew where the next method wants it in other bits. */
class SpeedBases {
  #open: { readonly in4Bits: boolean; readonly base: BaseModel } | null = null;
  readonly #seen = new Set<boolean>();

  constructor(
    readonly open: (peft: string, output: Output) => Promise<BaseModel>,
    readonly output: Output,
  ) {}

  /** Owned here. */
  async of({ peft }: SpeedMethod): Promise<BaseModel> {
    const in4Bits = wants4Bits(peft);
    if (this.#open?.in4Bits === in4Bits) return this.#open.base;
    this.dispose();
    const said = this.#seen.has(in4Bits) ? new Output(this.output.io, true) : this.output;
    this.#open = { in4Bits, base: await this.open(peft, said) };
    this.#seen.add(in4Bits);
    return this.#open.base;
  }

  dispose(): void {
    this.#open?.base.model.dispose();
    this.#open = null;
  }
}

interface Measurement {
  readonly methods: readonly SpeedMethod[];
  readonly bases: SpeedBases;
  readonly data: SpeedData;
  readonly config: TrainConfig;
  readonly sparsity: SpftConfig | null;
  readonly warmup: number;
  readonly steps: number;
  readonly runs: number;
}

/** Runs of all methods in turns. A method for which there is no memory is said and left out; the others go on. */
async function measure(asked: Measurement, output: Output): Promise<SpeedResult[]> {
  const { methods, bases, data, config, sparsity, warmup, steps, runs } = asked;
  const made = methods.map(() => [] as SpeedRun[]);
  const forms = methods.map((): string | null => null);
  const failures = methods.map((): string | null => null);
  for (let run = 0; run < runs; run++) {
    for (const [n, method] of methods.entries()) {
      if (failures[n] !== null) continue;
      const status = output.task(`run ${run + 1} of ${runs}, ${method.name}`);
      let before: number | null = null;
      try {
        const base = await bases.of(method);
        before = tf.memory().numTensors;
        forms[n] = formsOf(base.model);
        const request = { method, base, source: data.source, sparsity, warmup, steps, isFirst: run === 0 };
        const result = await speedRun({ ...request, config: { ...config, seed: config.seed + run } }, output);
        made[n]!.push(result);
        status.done(`${milliseconds(speedStatistics([result.seconds]).median)} ms/step`);
      } catch (error) {
        status.fail();
        if (!isOutOfMemory(error)) throw error;
        failures[n] = `out of memory: ${(error as Error).message.split('\n')[0]}`;
        output.warn(`${method.name}: ${failures[n]}; the other methods go on`);
        const left = before === null ? 0 : tf.memory().numTensors - before;
        if (left > 0) output.warn(`${left} tensors were left behind by it`);
      }
    }
  }
  const seconds = made.map((of, n) => (failures[n] === null ? of.map((run) => run.seconds) : []));
  return methods.map(({ name }, n): SpeedResult => {
    const [first] = made[n]!;
    if (failures[n] !== null || !first) return { ...NOTHING, method: name, failure: failures[n] ?? 'not run' };
    const tokens = made[n]!.reduce((sum, run) => sum + run.tokens.reduce((a, b) => a + b, 0), 0);
    return {
      ...{ method: name, failure: null, frozenWeights: forms[n]!, seconds: seconds[n]! },
      statistics: speedStatistics(seconds[n]!),
      ratio: failures[0] === null ? speedRatio(seconds[0]!, seconds[n]!) : null,
      tokensPerSecond: tokens / seconds[n]!.flat().reduce((a, b) => a + b, 0),
      ...{ flopsPerStep: first.flops, flopsShare: first.flopsShareOfDense, peakMemoryBytes: first.peakBytes },
      ...{ trainableParameters: first.trainableParameters, losses: first.losses },
    };
  });
}

const NOTHING = {
  ...{
    frozenWeights: null,
    seconds: [],
    statistics: null,
    ratio: null,
    tokensPerSecond: null,
    flopsPerStep: null,
    flopsShare: null,
  },
  ...{ peakMemoryBytes: null, trainableParameters: null, losses: null },
} as const;

/** By backends' own errors, and by what engines say. */
export function isOutOfMemory(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    (error as { code?: unknown }).code === 'SPFT_CUDA_MEMORY' ||
    // A WebGPUError's.
    (error as { problem?: unknown }).problem === 'out-of-memory' ||
    /out of memory|\bOOM\b|cannot enlarge memory|allocation failed|Invalid (typed )?array (buffer )?length|failed to allocate/i.test(
      error.message,
    )
  );
}

const milliseconds = (seconds: number) => (seconds * 1000).toPrecision(4);

function resultTable(results: readonly SpeedResult[]): string {
  return table(
    ['method', 'ms/step', '20–80 %', '± runs', 'tokens/s', '×', '[95 %]', 'GFLOP/step', 'FLOPs', 'peak memory'],
    results.map(({ method, statistics, ratio, tokensPerSecond, flopsPerStep, flopsShare, peakMemoryBytes }) =>
      statistics === null
        ? [method, 'out of memory', ...Array.from({ length: 8 }, () => '')]
        : [
            method,
            milliseconds(statistics.median),
            `${milliseconds(statistics.p20)}–${milliseconds(statistics.p80)}`,
            milliseconds(statistics.runDeviation),
            Math.round(tokensPerSecond!).toLocaleString('en'),
            ratio === null ? '' : ratio.ratio.toFixed(2),
            ratio === null || method === results[0]!.method ? '' : `${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)}`,
            (flopsPerStep! / 1e9).toPrecision(4),
            percent(flopsShare!),
            bytes(peakMemoryBytes!),
          ],
    ),
  );
}

/** Bars of the medians, with the middle of the steps as intervals. */
function speedPicture(results: readonly SpeedResult[], title: string): string {
  return barChart(
    results.map(({ method, statistics, ratio, failure }, colour) => {
      if (statistics === null) return { name: method, value: null, text: failure!.split(':')[0]!, colour };
      const { median, p20, p80 } = statistics;
      const faster = ratio === null || colour === 0 ? '' : ` (${ratio.ratio.toFixed(2)} ×)`;
      return {
        ...{ name: method, value: 1000 * median, interval: [1000 * p20, 1000 * p80] as const, colour },
        text: `${milliseconds(median)}${faster}`,
      };
    }),
    title,
  );
}
