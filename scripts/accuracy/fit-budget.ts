/** @file How many steps of a run can be dense within a budget of FLOPs, by what a sparse step of its data takes. */
import { SpftConfig } from '@spft/config';
import { denseTokens } from '@spft/estimator';
import { countLabelledTokens, type FlopsMethod, type FlopsShape, stepFlops } from '@spft/models';
import { collate, layersOf, type Sample } from '@spft/trainer';
import { sparsityFlops } from '@spft/trainer/internals';

const ALL_LINEAR = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'];

/** FLOPs of a sparse step over those of a dense one with LoRA, over these samples. */
export function sparseStepShare(
  shape: FlopsShape,
  samples: readonly Sample[],
  config: SpftConfig,
  {
    rank,
    targets = ALL_LINEAR,
    channelMultiple,
  }: { readonly rank: number; readonly targets?: readonly string[] | undefined; readonly channelMultiple: number },
): number {
  const sparsity = layersOf(new Map(Object.entries(SpftConfig.toObject(config).sparsity as Record<string, number>)));
  const dense: FlopsMethod = { adapters: { rank, targets } };
  const method: FlopsMethod = { ...dense, ...sparsityFlops({ ...config, channelMultiple }, sparsity) };
  let [sparse, all] = [0, 0];
  // In batches, as the original's rectangle of dense tokens depends on what is beside what.
  for (let start = 0; start < samples.length; start += 16) {
    const batch = collate(samples.slice(start, start + 16), {
      denseTokens: (labels, lengths, seed) => denseTokens(labels, lengths, config, seed),
    });
    const tokens = { layout: batch.layout, labelledTokens: countLabelledTokens(batch) };
    sparse += stepFlops(shape, tokens, method).total;
    all += stepFlops(shape, tokens, dense).total;
  }
  return sparse / all;
}

/**
 * The step at which sparsity ends, so that the whole run takes `budget` of a dense run's FLOPs.
 * @param share a sparse step's, in FLOPs of a dense one.
 * @param start first sparse step. `denseEvery`: as in a sparsity file, 0 for none.
 * @throws RangeError where sparsity to the run's end takes more.
 */
export function endWithin(
  budget: number,
  share: number,
  { steps, start = 0, denseEvery = 0 }: { steps: number; start?: number; denseEvery?: number },
): number {
  const wanted = Math.ceil((steps * (1 - budget)) / (1 - share) - 1e-9);
  let sparse = 0;
  for (let step = start; step < steps; step++) {
    if (sparse >= wanted) return step;
    if (denseEvery === 0 || (step + 1) % denseEvery !== 0) sparse++;
  }
  if (sparse >= wanted) return steps;
  throw new RangeError(
    `study: ${(100 * budget).toFixed(0)} % cannot be met: ${wanted} sparse steps are wanted at ${(100 * share).toFixed(1)} % each, ${sparse} are possible`,
  );
}
