/**
 * @file The methods side by side on one frozen model: each has adapters and an optimizer of its own, and is attached for its turn. So steps
 * of different methods can alternate, and what else a shared machine does hits all of them alike.
 */
import { buildPredictors, createEstimator, type Predictors, type SparsityPlan } from '@spft/estimator';
import type { FlopsMethod, LlamaForCausalLM } from '@spft/models';
import { type AdapterHost, getPeftModel } from '@spft/peft';
import { clipScale, globalNorm } from '@spft/sparse-ops';
import { createOptimizer, lossAndGradients, resolveArgs } from '@spft/trainer/internals';
import * as tf from '@tensorflow/tfjs';
import type { BenchBatch } from './random-model.js';
import type { BenchShape } from './shapes.js';

export const METHODS = ['lora', 'dora', 'sparselora'] as const;
export type MethodName = (typeof METHODS)[number];

export const ADAPTER = { r: 32, targetModules: ['q_proj', 'k_proj', 'v_proj', 'o_proj'] } as const;

export interface Method {
  readonly name: MethodName;
  readonly variables: ReadonlyMap<string, tf.Variable>;
  /** For `stepFlops`. */
  readonly flops: FlopsMethod;
  /** Loss of a forward pass off the tape, read back. */
  forward(batch: BenchBatch): number;
  /** A whole training step: forward, backward, clipping, AdamW; its loss, read back. */
  step(batch: BenchBatch): number;
  /** Loss and gradients by variable, on the host. */
  gradients(batch: BenchBatch): { readonly loss: number; readonly gradients: ReadonlyMap<string, Float32Array> };
  /** Another plan in place of the method's own; for verification. */
  usePlan(plan: SparsityPlan | null): void;
  dispose(): void;
}

export interface MethodOptions {
  readonly adapters?: readonly string[];
  /** Made when not given. Taken over. */
  readonly predictors?: Predictors;
  /** The MLP's scores from every token instead of the mean of each sequence. Default: false. */
  readonly scoresOfAll?: boolean;
  /** Of the adapters. Default 32. */
  readonly rank?: number;
  /** Kept channels are rounded up to a multiple of it. Default 1. */
  readonly channelMultiple?: number;
}

/** Attaches nothing yet. */
export async function createMethod(
  name: MethodName,
  model: LlamaForCausalLM,
  shape: BenchShape,
  {
    adapters: targets = ADAPTER.targetModules,
    predictors,
    scoresOfAll = false,
    rank: r = ADAPTER.r,
    channelMultiple = 1,
  }: MethodOptions = {},
): Promise<Method> {
  // PEFT allows a model one set of adapters; this host holds them back until their turn.
  const wings: AdapterHost = { linears: model.linears, setAdapter() {}, replaceWeight() {} };
  const peft = getPeftModel(
    wings,
    { r, loraAlpha: 2 * r, targetModules: [...targets], useDora: name === 'dora' },
    { seed: 1 },
  );
  const optimizer = createOptimizer(peft.variables, resolveArgs({}));
  let plan =
    name === 'sparselora' ? await sparsePlan(model, shape, { predictors, scoresOfAll, channelMultiple }) : null;
  const own = plan?.estimator;

  const attached = <T>(run: () => T): T => {
    for (const linear of model.linears.keys()) model.setAdapter(linear, peft.adapters.get(linear) ?? null);
    model.setSparsity(plan);
    try {
      return run();
    } finally {
      for (const linear of model.linears.keys()) model.setAdapter(linear, null);
      model.setSparsity(null);
    }
  };
  const host = { variables: peft.variables, loss: model.loss.bind(model) };
  const options = (batch: BenchBatch) => ({ training: true, seed: 3, normalizer: batch.labelledTokens });
  return {
    name,
    variables: peft.variables,
    flops: {
      adapters: { rank: r, targets, dora: name === 'dora' },
      ...(name === 'sparselora' && {
        ...{ sparsity: shape.sparsity, predictorRank: shape.predictorRank, channelMultiple },
        ...(scoresOfAll && { scoreRows: { mlp: 'all' as const } }),
      }),
    },
    forward: (batch) => attached(() => tf.tidy(() => model.loss(batch, options(batch)).dataSync()[0]!)),
    step: (batch) =>
      attached(() => {
        const { loss, gradients } = lossAndGradients(host, batch, options(batch));
        const gradientScale = tf.tidy(() => clipScale(globalNorm(gradients), 1));
        optimizer.step(gradients, { learningRate: 1e-4, gradientScale });
        const value = loss.dataSync()[0]!;
        tf.dispose([loss, gradientScale, ...gradients]);
        return value;
      }),
    gradients: (batch) =>
      attached(() => {
        const { loss, gradients } = lossAndGradients(host, batch, options(batch));
        const names = [...peft.variables.keys()];
        const onHost = new Map(gradients.map((g, n) => [names[n]!, g.dataSync().slice() as Float32Array]));
        const value = loss.dataSync()[0]!;
        tf.dispose([loss, ...gradients]);
        return { loss: value, gradients: onHost };
      }),
    usePlan: (other) => {
      plan = other;
    },
    dispose() {
      optimizer.dispose();
      peft.dispose();
      own?.dispose();
    },
  };
}

/** The plan of the shape, as `getSpftModel` would attach it. */
export async function sparsePlan(
  model: LlamaForCausalLM,
  shape: BenchShape,
  {
    predictors: given,
    scoresOfAll = false,
    channelMultiple = 1,
  }: Pick<MethodOptions, 'predictors' | 'scoresOfAll' | 'channelMultiple'> = {},
): Promise<SparsityPlan> {
  const { sparsity, predictorRank } = shape;
  const predictors = given ?? (await buildPredictors(model, sparsity, predictorRank));
  const some = (part: 'mlp' | 'selfAttn') => [...sparsity.values()].some((layer) => layer[part] > 0);
  const estimator = await createEstimator({
    mode: `svd_${predictorRank}`,
    heads: model.headLayout,
    compat: 'corrected',
    channelMultiple,
    qkPerHead: false,
    qkvoSeqAvg: false,
    mlpSeqAvg: !scoresOfAll,
    modules: { mlp: some('mlp'), selfAttn: some('selfAttn') },
    predictors: async () => predictors,
  });
  return { estimator, layers: sparsity, compat: 'corrected', enabled: true, listener: null };
}
