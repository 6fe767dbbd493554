/**
 * @file `spft speed`: how fast methods are beside each other on real batches. What the original's `scripts/speedup.sh` measures, with what it lacks: the
 * methods take turns, set-up is not in the time, seeds differ, and spread, intervals, FLOPs and memory are told.
 */
import { cpus, totalmem } from 'node:os';
import { nearestName, type SpftConfig, type TrainConfig } from '@spft/config';
import { loadTrainConfig } from '@spft/config/node';
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
import { frozenOptions, wants4Bits } from '../steps/frozen-base.js';
import { openBackend } from '../steps/open-backend.js';
import { type BaseModel, openModel } from '../steps/open-model.js';
import { openRandomModel, shapeNamed } from '../steps/random-model.js';
import { openTokenizer, realData, type SpeedData, simulatedData } from '../steps/speed-data.js';
import { memoryIsCountedBy, type SpeedMethod, type SpeedRun, speedRun } from '../steps/speed-run.js';
import { DEFAULT_TEMPLATE, knownTemplate } from '../steps/template.js';
import { preparePath, writeJson } from '../terminal/json-file.js';
import type { Output } from '../terminal/output.js';
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
const METHODS = [
  ...(['lora', 'dora', 'qlora', 'qdora'] as const),
  ...(['sparselora', 'sparsedora', 'sparseqlora', 'sparseqdora'] as const),
] as const;

/** @throws CliError for a method that there is not. */
export function parseSpeedMethods(text: string): SpeedMethod[] {
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
  const { bases, data } = await openBases(flags, config, visits, methods, output);
  const batchSize = 'per_device_train_batch_size' in keys ? null : data.batchSize;
  const settled = batchSize === null ? config : { ...config, perDeviceTrainBatchSize: batchSize };
  let results: SpeedResult[];
  try {
    results = await measure({ methods, bases, data, config: settled, sparsity, warmup, steps, runs }, output);
  } finally {
    for (const { model } of bases.values()) model.dispose();
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

/** Models by whether their frozen weights are in 4 bits, each shared by the methods that want it so. */
type Bases = ReadonlyMap<boolean, BaseModel>;

/** The models that the methods want, and the rows. */
async function openBases(
  flags: SpeedFlags,
  config: TrainConfig,
  visits: number,
  methods: readonly SpeedMethod[],
  output: Output,
): Promise<{ readonly bases: Bases; readonly data: SpeedData }> {
  const bases = new Map<boolean, BaseModel>();
  let data: SpeedData | null = null;
  try {
    for (const in4Bits of new Set(methods.map(({ peft }) => wants4Bits(peft)))) {
      const opened = await openBase(flags, { ...config, peft: in4Bits ? 'qlora' : 'lora' }, visits, output);
      bases.set(in4Bits, opened.base);
      data ??= opened.data;
    }
  } catch (error) {
    for (const { model } of bases.values()) model.dispose();
    throw error;
  }
  if (bases.size > 1) {
    output.note(
      'the base is held plain and in 4 bits at once, so the peak memory of each method has the other base in it; measure them apart to know it',
    );
  }
  return { bases, data: data! };
}

/** A model as the adapter's method wants it, and the rows. */
async function openBase(
  flags: SpeedFlags,
  config: TrainConfig,
  visits: number,
  output: Output,
): Promise<{ readonly base: BaseModel; readonly data: SpeedData }> {
  const frozen = frozenOptions(config);
  const dataset = config.dataset!;
  const named = flags.template ?? (config.chatTemplateFormat === null ? null : 'chat');
  const choice = {
    template: named === null ? DEFAULT_TEMPLATE : { name: knownTemplate(named), format: config.chatTemplateFormat },
    isNamed: named !== null,
  };
  if (flags.shape === undefined) {
    const opened = await openModel(config.modelNameOrPath!, output, {
      ...{ revision: flags.revision, ...frozen },
    });
    try {
      return { base: opened, data: await realData(dataset, config, { ...opened, choice, visits }, output) };
    } catch (error) {
      opened.model.dispose();
      throw error;
    }
  }
  const data =
    flags.tokenizer === undefined
      ? simulatedData(dataset, shapeNamed(flags.shape).vocabSize)
      : await realData(dataset, config, { ...(await openTokenizer(flags.tokenizer, output)), choice, visits }, output);
  const model = await openRandomModel(flags.shape, output, frozen);
  // The same weights every time, so predictors of them may be kept.
  const fingerprint = `random-1-${flags.shape}`;
  return { base: { name: flags.shape, model, fingerprint, isFloat32: false }, data };
}

interface Measurement {
  readonly methods: readonly SpeedMethod[];
  readonly bases: Bases;
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
  const failures = methods.map((): string | null => null);
  for (let run = 0; run < runs; run++) {
    for (const [n, method] of methods.entries()) {
      if (failures[n] !== null) continue;
      const status = output.task(`run ${run + 1} of ${runs}, ${method.name}`);
      const before = tf.memory().numTensors;
      try {
        const base = bases.get(wants4Bits(method.peft))!;
        const request = { method, base, source: data.source, sparsity, warmup, steps, isFirst: run === 0 };
        const result = await speedRun({ ...request, config: { ...config, seed: config.seed + run } }, output);
        made[n]!.push(result);
        status.done(`${milliseconds(speedStatistics([result.seconds]).median)} ms/step`);
      } catch (error) {
        status.fail();
        if (!isOutOfMemory(error)) throw error;
        failures[n] = `out of memory: ${(error as Error).message.split('\n')[0]}`;
        output.warn(`${method.name}: ${failures[n]}; the other methods go on`);
        const left = tf.memory().numTensors - before;
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
      ...{ method: name, failure: null, seconds: seconds[n]! },
      statistics: speedStatistics(seconds[n]!),
      ratio: failures[0] === null ? speedRatio(seconds[0]!, seconds[n]!) : null,
      tokensPerSecond: tokens / seconds[n]!.flat().reduce((a, b) => a + b, 0),
      ...{ flopsPerStep: first.flops, flopsShare: first.flopsShareOfDense, peakMemoryBytes: first.peakBytes },
      ...{ trainableParameters: first.trainableParameters, losses: first.losses },
    };
  });
}

const NOTHING = {
  ...{ seconds: [], statistics: null, ratio: null, tokensPerSecond: null, flopsPerStep: null, flopsShare: null },
  ...{ peakMemoryBytes: null, trainableParameters: null, losses: null },
} as const;

/** By backends' own errors, and by what engines say. */
export function isOutOfMemory(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return (
    (error as { code?: unknown }).code === 'SPFT_CUDA_MEMORY' ||
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
export function speedPicture(results: readonly SpeedResult[], title: string): string {
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
