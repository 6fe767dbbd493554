/**
 * @file A run that is small enough for plain loops, and in which everything counts that a loop may lose: steps above and below the clipping norm,
 * an epsilon that the size of a gradient shows against, accumulation, weight decay, a schedule, labelled tokens whose row is sparse.
 *
 * `UPDATE_GOLDEN=1 npx vitest run packages/trainer/src/loop/tiny-golden.test.ts` writes its end, by plain loops, to fixtures/tiny-training.json.
 */
import { pseudoRandom, TINY, tinyWeights } from '../../models/test/tiny.js';
import type { Sample } from '../src/batch/samples.js';
import { epochSteps, planRun } from '../src/loop/run-plan.js';
import { centralDifferences, type PlainModel, plainLoss } from './plain-llama.js';

export const LORA = { r: 2, loraAlpha: 6, targetModules: ['q_proj', 'v_proj'] };
export const LAYERS = new Map([
  [1, { mlp: 0.5, selfAttn: 0.5 }],
  [2, { mlp: 0.75, selfAttn: 0 }],
]);
export const ARGS = {
  maxSteps: 3,
  perDeviceTrainBatchSize: 2,
  gradientAccumulationSteps: 2,
  learningRate: 0.02,
  lrSchedulerType: 'linear',
  weightDecay: 0.1,
  adamBeta1: 0.8,
  adamBeta2: 0.9,
  adamEpsilon: 0.05,
  maxGradNorm: 1.4,
  loggingSteps: 1,
  seed: 11,
} as const;

/** Answers of one to three tokens after prompts of two to five, so that the token before an answer is labelled and sparse. */
export const SAMPLES: readonly Sample[] = Array.from({ length: 12 }, (_, n) => {
  const [prompt, answer] = [2 + (n % 4), 1 + (n % 3)];
  const inputIds = Array.from(pseudoRandom(prompt + answer, 31 + n), (x) => Math.floor((x + 1) * 18) + 3);
  return { inputIds, labels: inputIds.map((id, t) => (t < prompt ? -100 : id)) };
});

/** Start values by name and size: not zero, so that both halves of an adapter move from the first step on. */
export const startValues = (names: readonly string[], size: (name: string) => number): Map<string, Float32Array> =>
  new Map(names.map((name, n) => [name, pseudoRandom(size(name), 101 + n).map((x) => 0.4 * x)]));

export interface TrainingEnd {
  readonly losses: readonly number[];
  /** Before clipping. */
  readonly gradientNorms: readonly number[];
  readonly values: Readonly<Record<string, readonly number[]>>;
}

/** The channels that `fixedEstimator` keeps: odd ones first, then even ones. */
function someChannels(total: number, sparsity: number): number[] {
  const order = [...Array(total).keys()].sort((a, b) => (b % 2) - (a % 2) || a - b);
  return order.slice(0, Math.floor(total * (1 - sparsity))).sort((a, b) => a - b);
}

/** Trains by plain loops. */
export function plainTraining(): TrainingEnd {
  const { hiddenSize: H, intermediateSize, headDim: d, numAttentionHeads, numKeyValueHeads } = TINY;
  const G = numAttentionHeads / numKeyValueHeads;
  const outputs: Readonly<Record<string, number>> = { q_proj: numAttentionHeads * d, v_proj: numKeyValueHeads * d };
  const names = [...Array(TINY.numHiddenLayers).keys()].flatMap((layer) =>
    LORA.targetModules.flatMap((part) =>
      ['lora_A', 'lora_B'].map((half) => `model.layers.${layer}.self_attn.${part}.${half}.weight`),
    ),
  );
  const size = (name: string) => LORA.r * (name.includes('lora_A') ? H : outputs[name.split('.').at(-3)!]!);
  const adapters = new Map([...startValues(names, size)].map(([name, values]) => [name, Float64Array.from(values)]));
  const model: PlainModel = {
    ...{ config: TINY, weights: tinyWeights(TINY), adapters, rank: LORA.r, loraScale: LORA.loraAlpha / LORA.r },
    kept(layer) {
      const { mlp = 0, selfAttn = 0 } = LAYERS.get(layer) ?? {};
      const kv = selfAttn > 0 ? someChannels(numKeyValueHeads * d, selfAttn) : null;
      const q = kv?.flatMap((c) => Array.from({ length: G }, (_, g) => (Math.floor(c / d) * G + g) * d + (c % d)));
      return {
        mlp: mlp > 0 ? new Set(someChannels(intermediateSize, mlp)) : null,
        q: q ? new Set(q) : null,
        kv: kv && new Set(kv),
      };
    },
  };
  const moments = new Map(
    names.map((name) => [name, { m: new Float64Array(size(name)), v: new Float64Array(size(name)) }]),
  );
  const [losses, gradientNorms]: [number[], number[]] = [[], []];
  const plan = planRun(SAMPLES.length, { ...ARGS, numTrainEpochs: 1 });
  for (let step = 0; step < ARGS.maxSteps; step++) {
    const order = epochSteps(plan, ARGS.seed, Math.floor(step / plan.stepsPerEpoch))[step % plan.stepsPerEpoch]!.flat();
    const batch = order.map((index) => SAMPLES[index]!);
    const count = batch.reduce(
      (sum, { labels }) => sum + Array.from(labels).filter((label) => label !== -100).length,
      0,
    );
    const loss = () => batch.reduce((sum, { inputIds, labels }) => sum + plainLoss(model, inputIds, labels), 0) / count;
    losses.push(loss());
    const gradients = centralDifferences(adapters, loss);
    let square = 0;
    for (const gradient of gradients.values()) for (const g of gradient) square += g * g;
    gradientNorms.push(Math.sqrt(square));
    const scale = Math.min(1, ARGS.maxGradNorm / (Math.sqrt(square) + 1e-6));
    const rate = ARGS.learningRate * (1 - step / ARGS.maxSteps);
    for (const [name, p] of adapters) {
      const { m, v } = moments.get(name)!;
      gradients.get(name)!.forEach((gradient, i) => {
        const g = gradient * scale;
        m[i] = ARGS.adamBeta1 * m[i]! + (1 - ARGS.adamBeta1) * g;
        v[i] = ARGS.adamBeta2 * v[i]! + (1 - ARGS.adamBeta2) * g * g;
        const mean = m[i]! / (1 - ARGS.adamBeta1 ** (step + 1));
        const root = Math.sqrt(v[i]! / (1 - ARGS.adamBeta2 ** (step + 1)));
        p[i] = p[i]! * (1 - rate * ARGS.weightDecay) - (rate * mean) / (root + ARGS.adamEpsilon);
      });
    }
  }
  return { losses, gradientNorms, values: Object.fromEntries([...adapters].map(([name, p]) => [name, [...p]])) };
}
