/** @file The benchmark from top to bottom: verify, time, measure memory, say what came of it. */
import { stepFlops } from '@spft/models';
import { aligned } from '../support/aligned.js';
import { type Environment, environment } from '../support/environment.js';
import type { Quantiles } from '../support/quantiles.js';
import { type Memory, type Timing, timeInTurns } from './measure.js';
import { createMethod, METHODS, type MethodName } from './methods.js';
import { type BatchOptions, randomBatch, randomModel } from './random-model.js';
import type { BenchShape } from './shapes.js';
import { type Tamper, verify } from './verify.js';

export interface BenchOptions extends BatchOptions {
  readonly shape: BenchShape;
  /** The active backend. */
  readonly backend: string;
  readonly methods: readonly MethodName[];
  /** Timed steps of each method, and those before. */
  readonly steps: number;
  readonly warmup: number;
  /** Measures in a process of its own; null leaves memory out. */
  readonly memoryOf: ((method: MethodName) => Promise<Memory>) | null;
  readonly note?: string;
  readonly onProgress?: (message: string) => void;
  readonly tamper?: Tamper;
}

export interface MethodResult {
  readonly method: MethodName;
  readonly secondsPerStep: Quantiles;
  readonly forwardSeconds: Quantiles;
  readonly backwardSeconds: Quantiles;
  /** Real tokens of the batch over the median step. */
  readonly tokensPerSecond: number;
  /** Of matrix products of a step, counted from shapes. */
  readonly flopsPerStep: number;
  readonly gigaflopsPerSecond: number;
  /** Of dense LoRA's. */
  readonly flopsShare: number;
  /** Dense LoRA's median step over this one's; null where LoRA was not measured. */
  readonly speedup: number | null;
  readonly memory: Memory | null;
}

export interface BenchResult {
  readonly benchmark: 'model';
  readonly environment: Environment;
  readonly note: string | null;
  readonly shape: string;
  readonly sequences: number;
  readonly tokens: number;
  readonly labelledTokens: number;
  readonly sparseTokens: number;
  readonly steps: number;
  readonly verified: readonly string[];
  readonly methods: readonly MethodResult[];
}

/** @throws Error when the verification fails, or a loss is not finite; then nothing has been timed, or nothing is reported. */
export async function runBench(options: BenchOptions): Promise<BenchResult> {
  const { shape, backend, methods: names, steps, warmup, memoryOf, onProgress, tamper, note } = options;
  const vocabulary = shape.config.vocabSize;
  onProgress?.('verifying');
  const verified = await verify(shape, backend, { methods: names, tamper });

  onProgress?.('making the model');
  const where = environment(backend);
  const model = await randomModel(shape);
  const timed = [];
  for (const name of names) {
    onProgress?.(`preparing ${name}`);
    const batch = randomBatch(vocabulary, options, name === 'sparselora');
    timed.push({ method: await createMethod(name, model, shape), batch });
  }
  const onRound = (done: number) => onProgress?.(`round ${done} of ${warmup + steps}`);
  const timings = timeInTurns(timed, { steps, warmup, onRound });
  for (const { method } of timed) method.dispose();
  model.dispose();

  const flops = timed.map(({ method, batch }) => stepFlops(shape.config, batch, method.flops).total);
  const { adapters } = timed.find(({ method }) => method.name !== 'dora')?.method.flops ?? timed[0]!.method.flops;
  const dense = stepFlops(shape.config, timed[0]!.batch, { adapters: { ...adapters!, dora: false } }).total;
  const lora = timings[names.indexOf('lora')];
  const methods: MethodResult[] = [];
  for (const [n, { method, batch }] of timed.entries()) {
    if (memoryOf) onProgress?.(`memory of ${method.name}`);
    const timing: Timing = timings[n]!;
    methods.push({
      method: method.name,
      secondsPerStep: timing.step,
      forwardSeconds: timing.forward,
      backwardSeconds: timing.backward,
      tokensPerSecond: batch.layout.tokens / timing.step.p50,
      flopsPerStep: flops[n]!,
      gigaflopsPerSecond: flops[n]! / timing.step.p50 / 1e9,
      flopsShare: flops[n]! / dense,
      speedup: lora ? lora.step.p50 / timing.step.p50 : null,
      memory: memoryOf ? await memoryOf(method.name) : null,
    });
  }
  const { layout, labelledTokens } = randomBatch(vocabulary, options, true);
  return {
    benchmark: 'model',
    environment: where,
    note: note ?? null,
    shape: shape.name,
    sequences: options.batch,
    tokens: layout.tokens,
    labelledTokens,
    sparseTokens: layout.tokens - layout.denseTokens,
    steps,
    verified,
    methods,
  };
}

/** The result as a table for people. */
export function benchTable(result: BenchResult): string {
  const mib = (bytes: number | undefined) => (bytes === undefined ? '–' : `${Math.round(bytes / 2 ** 20)}`);
  const rows = result.methods.map((m) => [
    m.method,
    m.secondsPerStep.p50.toPrecision(3),
    `${m.secondsPerStep.p20.toPrecision(3)}–${m.secondsPerStep.p80.toPrecision(3)}`,
    m.forwardSeconds.p50.toPrecision(3),
    m.backwardSeconds.p50.toPrecision(3),
    m.tokensPerSecond.toFixed(0),
    m.gigaflopsPerSecond.toFixed(1),
    `${(100 * m.flopsShare).toFixed(1)} %`,
    m.speedup === null ? '–' : `${m.speedup.toFixed(2)}x`,
    mib(m.memory?.peakRssBytes),
    mib(m.memory?.peakTensorBytes),
  ]);
  const head = ['method', 's/step', 'p20–p80', 'forward', 'backward', 'tokens/s', 'GFLOP/s', 'FLOPs', 'speed-up'];
  return aligned([[...head, 'RSS MiB', 'tensors MiB'], ...rows]);
}

/** Names of methods in a list with commas. @throws RangeError for one that there is not. */
export function parseMethods(text: string): MethodName[] {
  const names = text.split(',').map((name) => name.trim());
  const wrong = names.find((name) => !(METHODS as readonly string[]).includes(name));
  if (wrong === undefined) return names as MethodName[];
  throw new RangeError(`there is no method '${wrong}'; there are ${METHODS.join(', ')}`);
}
