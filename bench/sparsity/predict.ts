/**
 * @file What a plan by time would predict of a sparse step (`spft sparsity plan --time`): out of one layer's times, and of steps with a module sparse in
 * the shape's sparse layers where the planner takes all of them, by its own stopwatch and model of times.
 */
import type { SpftModel } from '@spft/estimator';
import type { LlamaForCausalLM, TrainableModel } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { type JointTime, type LayerTime, StepTimer, type TimedWork, TimeModel } from '@spft/trainer';
import { ADAPTER, sparsePlan } from '../model/methods.js';
import type { BenchBatch } from '../model/random-model.js';
import type { BenchShape } from '../model/shapes.js';

export interface PredictOptions {
  readonly rank: number;
  readonly channelMultiple: number;
  /** Seconds of a clock. */
  readonly now: () => number;
}

/** Shares of a dense step's time that a step of the shape takes. */
export interface PredictedShares {
  /** By times of one layer alone. */
  readonly byLayer: number;
  /** As a plan tells it: corrected by steps. */
  readonly planned: number;
}

/**
 * Adapters are attached to the model meanwhile, which must have none.
 * @param batch with sparse rows.
 */
export async function predictedShares(
  model: LlamaForCausalLM,
  shape: BenchShape,
  batch: BenchBatch,
  { rank, channelMultiple, now }: PredictOptions,
): Promise<PredictedShares> {
  const peft = getPeftModel(
    model,
    { r: rank, loraAlpha: 2 * rank, targetModules: [...ADAPTER.targetModules] },
    { seed: 1 },
  );
  const plan = await sparsePlan(model, shape, { channelMultiple });
  try {
    const layers = [...shape.sparsity.keys()];
    const layer = layers[Math.floor((layers.length - 1) / 2)]!;
    const modules = (['mlp', 'selfAttn'] as const).flatMap((part) => {
      const levels = new Set([...shape.sparsity.values()].map((of) => of[part]).filter((level) => level > 0));
      return [...levels].map((level) => ({ part, level }));
    });
    const timed = { ...batch, labelCount: batch.labelledTokens };
    const dense = { batch: timed, layers: new Map() };
    const works: TimedWork[] = [
      { part: 'step', ...dense },
      { part: layer, ...dense },
      ...modules.map(({ part, level }) => ({
        ...{ part: layer, batch: timed },
        layers: new Map([[layer, { mlp: 0, selfAttn: 0, [part]: level }]]),
      })),
    ];
    // All that a stopwatch reads of it.
    const spft = { host: model, plan, variables: peft.variables } as unknown as SpftModel<TrainableModel>;
    const timer = new StepTimer(spft, model, { now });
    const [step, whole, ...seconds] = await timer.seconds(works);
    const sparseTokens = 1 - batch.layout.denseTokens / batch.layout.tokens;
    const moduleOf = { mlp: 'mlp', selfAttn: 'self_attn' } as const;
    const joint: JointTime[] = [];
    for (const { part, level } of modules) {
      const of = layers.filter((n) => shape.sparsity.get(n)![part] === level);
      const sparse = new Map(of.map((n) => [n, { mlp: 0, selfAttn: 0, [part]: level }]));
      const [beside, taken] = await timer.seconds([
        { part: 'step', ...dense },
        { part: 'step', batch: timed, layers: sparse },
      ]);
      joint.push({
        ...{ module: moduleOf[part], sparsity: level, sparseTokens },
        ...{ share: taken! / beside!, layers: of.length },
      });
    }
    const times = {
      ...{ step: step!, layer: whole! },
      sparse: modules.map(
        ({ part, level }, n): LayerTime => ({
          ...{ module: moduleOf[part], sparsity: level, sparseTokens, seconds: seconds[n]! },
        }),
      ),
    };
    const share = (model: TimeModel) =>
      [...shape.sparsity.values()]
        .flatMap((of) => (['mlp', 'selfAttn'] as const).map((part) => ({ part, level: of[part] })))
        .filter(({ level }) => level > 0)
        .reduce((sum, { part, level }) => sum - model.saving(moduleOf[part], level, sparseTokens), 1);
    return { byLayer: share(new TimeModel(times)), planned: share(new TimeModel({ ...times, joint })) };
  } finally {
    plan.estimator.dispose();
    peft.dispose();
  }
}
