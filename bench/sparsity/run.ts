/**
 * @file What sparsity pays on a backend: steps of LoRA and SparseLoRA of one shape in turns, and the gain beside the one that their FLOPs allow.
 *
 * Two clocks. The time on processors of all threads (`process.cpuUsage`) hardly depends on what else the machine does, but counts threads that wait by
 * looking; with one thread none does. The wall's time is what a user sees; of it the best of all rounds hides what others took.
 */
import { stepFlops } from '@spft/models';
import { createMethod, type Method } from '../model/methods.js';
import { type BatchOptions, type BenchBatch, randomBatch, randomModel } from '../model/random-model.js';
import type { BenchShape } from '../model/shapes.js';
import { verify } from '../model/verify.js';
import { aligned } from '../support/aligned.js';
import { type Quantiles, quantiles } from '../support/quantiles.js';
import { clockKernels, type KernelTime } from './kernels.js';
import { type PredictedShares, predictedShares } from './predict.js';

/** Of one method. */
export interface StepTimes {
  readonly name: string;
  /** Seconds of all threads together. */
  readonly processor: Quantiles;
  readonly wall: Quantiles;
  readonly best: { readonly processor: number; readonly wall: number };
  /** Of dense LoRA's. */
  readonly flopsShare: number;
  /** Milliseconds of a step by kernel, on processors; those that are not in a kernel under ''. Null unless asked for. */
  readonly kernels: Readonly<Record<string, KernelTime>> | null;
}

/** What a sparse method gains of what its FLOPs allow: (1 − its time / LoRA's) / (1 − its FLOPs / LoRA's). */
export interface Gain {
  readonly name: string;
  /** Medians over rounds of that round's ratio. */
  readonly processor: number;
  readonly wall: number;
  /** Of the best round of each. */
  readonly best: { readonly processor: number; readonly wall: number };
}

/** What a plan by time predicts of the sparse step with scores of means, beside what it took: shares of LoRA's time by one clock. */
export interface Prediction {
  readonly clock: 'processor' | 'wall';
  readonly predicted: PredictedShares;
  /** Median over rounds of that round's ratio. */
  readonly measured: number;
}

export interface SparsityResult {
  readonly shape: string;
  readonly tokens: number;
  /** By layer. */
  readonly sparsity: Readonly<Record<string, { readonly mlp: number; readonly selfAttn: number }>>;
  readonly channelMultiple: number;
  /** Null unless asked for. */
  readonly prediction: Prediction | null;
  readonly methods: readonly StepTimes[];
  readonly gains: readonly Gain[];
}

export interface SparsityOptions extends BatchOptions {
  readonly shape: BenchShape;
  /** The active backend. */
  readonly backend: string;
  readonly rounds: number;
  readonly warmup: number;
  /** Of the adapters. */
  readonly rank: number;
  /** Times kernels too, in as many rounds more. */
  readonly kernels: boolean;
  /** Kept channels are rounded up to a multiple of it. Default 1. */
  readonly channelMultiple?: number;
  /** Whether to say what a plan by time predicts, too. */
  readonly predict?: boolean;
}

/** Seconds of all threads of the process on processors. */
function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

interface Timed {
  readonly name: string;
  readonly method: Method;
  readonly batch: BenchBatch;
  readonly processor: number[];
  readonly wall: number[];
  readonly kernels: Map<string, { calls: number; milliseconds: number }>;
}

/** @throws Error when a loss is not finite. */
function timedStep({ name, method, batch }: Timed): { processor: number; wall: number } {
  const [processor, wall] = [processorSeconds(), performance.now()];
  const loss = method.step(batch);
  const taken = { processor: processorSeconds() - processor, wall: (performance.now() - wall) / 1000 };
  if (!Number.isFinite(loss)) throw new Error(`${name}: the loss is ${loss}; what is timed would be no training`);
  return taken;
}

function timeKernels(timed: readonly Timed[], backend: string, rounds: number): void {
  const clock = clockKernels(backend, () => 1000 * processorSeconds());
  try {
    for (let round = 0; round < rounds; round++) {
      for (const one of timed) {
        const { processor } = timedStep(one);
        let within = 0;
        for (const [name, { calls, milliseconds }] of clock.read()) {
          const sum = one.kernels.get(name) ?? { calls: 0, milliseconds: 0 };
          one.kernels.set(name, sum);
          sum.calls += calls / rounds;
          sum.milliseconds += milliseconds / rounds;
          within += milliseconds;
        }
        const outside = one.kernels.get('') ?? { calls: 1, milliseconds: 0 };
        one.kernels.set('', outside);
        outside.milliseconds += (1000 * processor - within) / rounds;
      }
    }
  } finally {
    clock.stop();
  }
}

/** @throws Error when the verification fails, or a loss is not finite; then nothing has been timed, or nothing is reported. */
export async function measureSparsity(options: SparsityOptions): Promise<SparsityResult> {
  const { shape, backend, rounds, warmup, kernels, rank, channelMultiple = 1 } = options;
  await verify(shape, backend, { methods: ['lora', 'sparselora'] });
  const model = await randomModel(shape);
  const timed: Timed[] = [];
  for (const [name, method, scoresOfAll] of [
    ['lora', 'lora', false],
    ['sparselora', 'sparselora', false],
    ['sparselora, scores of every token', 'sparselora', true],
  ] as const) {
    const batch = randomBatch(shape.config.vocabSize, options, method === 'sparselora');
    const made = await createMethod(method, model, shape, { scoresOfAll, rank, channelMultiple });
    timed.push({ name, method: made, batch, processor: [], wall: [], kernels: new Map() });
  }
  for (let round = 0; round < warmup + rounds; round++) {
    for (const one of timed) {
      const { processor, wall } = timedStep(one);
      if (round < warmup) continue;
      one.processor.push(processor);
      one.wall.push(wall);
    }
  }
  if (kernels) timeKernels(timed, backend, rounds);
  const flops = timed.map(({ method, batch }) => stepFlops(shape.config, batch, method.flops).total);
  const methods = timed.map(
    (one, n): StepTimes => ({
      name: one.name,
      processor: quantiles(one.processor),
      wall: quantiles(one.wall),
      best: { processor: Math.min(...one.processor), wall: Math.min(...one.wall) },
      flopsShare: flops[n]! / flops[0]!,
      kernels: kernels ? Object.fromEntries(one.kernels) : null,
    }),
  );
  const [lora, ...sparse] = timed;
  const gains = sparse.map((one, n): Gain => {
    const share = methods[n + 1]!.flopsShare;
    const gain = (ratio: number) => (1 - ratio) / (1 - share);
    const median = (clock: 'processor' | 'wall') =>
      gain(quantiles(one[clock].map((seconds, round) => seconds / lora![clock][round]!)).p50);
    const best = (clock: 'processor' | 'wall') => gain(methods[n + 1]!.best[clock] / methods[0]!.best[clock]);
    return {
      name: one.name,
      processor: median('processor'),
      wall: median('wall'),
      best: { processor: best('processor'), wall: best('wall') },
    };
  });
  for (const { method } of timed) method.dispose();
  let prediction: Prediction | null = null;
  if (options.predict) {
    // On one thread, the clock that hardly depends on what else the machine does.
    const clock = process.env.SPFT_THREADS === '1' ? 'processor' : 'wall';
    const now = clock === 'processor' ? processorSeconds : () => performance.now() / 1000;
    const predicted = await predictedShares(model, shape, sparse[0]!.batch, { rank, channelMultiple, now });
    prediction = { clock, predicted, measured: 1 - gains[0]![clock] * (1 - methods[1]!.flopsShare) };
  }
  model.dispose();
  const sparsity = Object.fromEntries(shape.sparsity);
  const tokens = options.batch * options.length;
  return { shape: shape.name, tokens, sparsity, channelMultiple, prediction, methods, gains };
}

/** The result as tables for people. */
export function sparsityTable({ methods, gains, prediction }: SparsityResult): string {
  const rows = [
    [
      '',
      's/step on processors',
      'best',
      's/step',
      'best',
      'FLOPs',
      'gain of allowed: on processors',
      'best',
      'wall',
      'best',
    ],
    ...methods.map(({ name, processor, wall, best, flopsShare }, n) => [
      name,
      ...[processor.p50, best.processor, wall.p50, best.wall].map((seconds) => seconds.toFixed(4)),
      `${(100 * flopsShare).toFixed(1)} %`,
      ...(n === 0
        ? ['', '', '', '']
        : [gains[n - 1]!.processor, gains[n - 1]!.best.processor, gains[n - 1]!.wall, gains[n - 1]!.best.wall].map(
            (g) => g.toFixed(2),
          )),
    ]),
  ];
  const names = [...new Set(methods.flatMap(({ kernels }) => Object.keys(kernels ?? {})))];
  const time = (n: number, name: string) => methods[n]!.kernels?.[name]?.milliseconds ?? 0;
  names.sort((a, b) => time(0, b) + time(1, b) - time(0, a) - time(1, a));
  const byKernel = names.map((name) => [
    name || 'outside of kernels',
    ...methods.flatMap(({ kernels }, n) => [`${Math.round(kernels?.[name]?.calls ?? 0)}`, time(n, name).toFixed(1)]),
  ]);
  const head = ['ms on processors', ...methods.flatMap(({ name }) => ['calls', name])];
  const said =
    prediction &&
    `a plan by time predicts ${prediction.predicted.planned.toFixed(3)} of LoRA's time, by one layer's times alone ` +
      `${prediction.predicted.byLayer.toFixed(3)}; measured ${prediction.measured.toFixed(3)} (${prediction.clock})`;
  const parts = [
    aligned(rows),
    ...(said ? [said] : []),
    ...(byKernel.length > 0 ? [aligned([head, ...byKernel])] : []),
  ];
  return parts.join('\n\n');
}
