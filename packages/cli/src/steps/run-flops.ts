/** @file What share of a dense run's arithmetic a run takes, its dense steps included, counted over batches as they will come. */
import { type SpftModel, sparseShareOfSteps } from '@spft/estimator';
import { countLabelledTokens, type FlopsMethod, type LlamaForCausalLM, stepFlops } from '@spft/models';
import type { PeftModel } from '@spft/peft';
import { collate, type SampleSource, type Trainer } from '@spft/trainer';
import { epochSteps, sparsityFlops } from '@spft/trainer/internals';

/** Steps that are counted: enough for the lengths of samples to average out. */
const STEPS = 16;

/**
 * Of all steps together, so those that `start_step`, `end_step` and `dense_every` make dense count as such. 1 for a dense run, and for estimators that
 * mask, as these compute everything first.
 * @param samples those of the trainer, none of which it cut or left out.
 */
export function runFlopsShare(parts: FlopsParts, samples: SampleSource, trainer: Trainer): number {
  if (parts.spft === null || parts.spft.plan.estimator.applies !== 'gather') return 1;
  const { flops, denseFlops } = meanStepFlops(parts, samples, trainer);
  const sparse = sparseShareOfSteps(parts.spft.config, trainer.plan.maxSteps);
  return sparse * (flops / denseFlops) + (1 - sparse);
}

export interface FlopsParts {
  readonly model: LlamaForCausalLM;
  readonly spft: SpftModel | null;
  readonly peft: PeftModel;
}

/** FLOPs of a step as it is, and were it dense: the mean over the first steps of a run. */
export function meanStepFlops(
  { model, spft, peft }: FlopsParts,
  samples: SampleSource,
  trainer: Trainer,
): { readonly flops: number; readonly denseFlops: number } {
  const dense = { adapters: adapterFlops(peft) };
  const method = spft?.plan.estimator.applies === 'gather' ? flopsMethod(spft, peft) : dense;
  let [flops, denseFlops] = [0, 0];
  const { args, plan } = trainer;
  const steps = epochSteps(plan, args.dataSeed ?? args.seed, 0).slice(0, Math.min(STEPS, plan.maxSteps));
  for (const batches of steps) {
    for (const batch of batches) {
      const collated = collate(
        batch.map((sample) => samples.sample(sample)),
        spft ? { denseTokens: spft.denseTokens } : {},
      );
      const tokens = { layout: collated.layout, labelledTokens: countLabelledTokens(collated) };
      flops += stepFlops(model.config, tokens, method).total;
      denseFlops += stepFlops(model.config, tokens, dense).total;
    }
  }
  return { flops: flops / steps.length, denseFlops: denseFlops / steps.length };
}

const adapterFlops = (peft: PeftModel): NonNullable<FlopsMethod['adapters']> => ({
  rank: peft.config.r,
  targets: [...new Set([...peft.adapters.keys()].map((name) => name.split('.').at(-1)!))],
  dora: peft.config.useDora,
});

/** What a step with this adapter and this sparsity is made of. */
export function flopsMethod({ config, plan }: SpftModel, peft: PeftModel): FlopsMethod {
  return { adapters: adapterFlops(peft), ...sparsityFlops(config, plan.layers) };
}
