/**
 * @file What a plan by time would predict of a sparse step: out of one layer's times (`spft sparsity plan --time`), by the planner's own stopwatch and
 * model of times.
 */
import type { SpftModel } from '@spft/estimator';
import type { LlamaForCausalLM, TrainableModel } from '@spft/models';
import { getPeftModel } from '@spft/peft';
import { type LayerTime, StepTimer, type TimedWork, TimeModel } from '@spft/trainer';
import { ADAPTER, sparsePlan } from '../model/methods.js';
import type { BenchBatch } from '../model/random-model.js';
import type { BenchShape } from '../model/shapes.js';

export interface PredictOptions {
  readonly rank: number;
  readonly channelMultiple: number;
  /** Seconds of a clock. */
  readonly now: () => number;
}

/**
 * Share of a dense step's time that a step of the shape takes. Adapters are attached to the model meanwhile, which must have none.
 * @param batch with sparse rows.
 */
export async function predictedShare(
  model: LlamaForCausalLM,
  shape: BenchShape,
  batch: BenchBatch,
  { rank, channelMultiple, now }: PredictOptions,
): Promise<number> {
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
    const [step, whole, ...seconds] = await new StepTimer(spft, model, { now }).seconds(works);
    const sparseTokens = 1 - batch.layout.denseTokens / batch.layout.tokens;
    const moduleOf = { mlp: 'mlp', selfAttn: 'self_attn' } as const;
    const times = new TimeModel({
      ...{ step: step!, layer: whole! },
      sparse: modules.map(
        ({ part, level }, n): LayerTime => ({
          ...{ module: moduleOf[part], sparsity: level, sparseTokens, seconds: seconds[n]! },
        }),
      ),
    });
    let share = 1;
    for (const of of shape.sparsity.values()) {
      for (const part of ['mlp', 'selfAttn'] as const) {
        if (of[part] > 0) share -= times.saving(moduleOf[part], of[part], sparseTokens);
      }
    }
    return share;
  } finally {
    plan.estimator.dispose();
    peft.dispose();
  }
}
