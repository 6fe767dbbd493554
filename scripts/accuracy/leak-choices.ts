/** @file From which tokens the channels of a leak's trial are chosen (leak-trial.ts). */
import { SpftConfig } from '@spft/config';
import { LABELS_ALONE } from './leak-trial.js';

/** Where the scores come from, by the name that the docs have for it. */
export const CHOICES: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'svd_8, mean of all tokens': { mode: 'svd_8', score_context_tokens: false },
  'svd_8, mean of the context': { mode: 'svd_8' },
  'svd_8, every token': { mode: 'svd_8', score_tokens: 0, score_context_tokens: false },
  'calibrated_8, 16 of all tokens': { mode: 'calibrated_8', score_context_tokens: false },
  'calibrated_8, 16 context tokens': { mode: 'calibrated_8' },
  'labels alone (planted)': { mode: LABELS_ALONE },
};

/** A sparsity file that makes every layer so sparse. */
export function leakConfig(layerCount: number, choice: string, mlp: number, attention: number): SpftConfig {
  const layers = Array.from({ length: layerCount }, (_, n) => [
    [`layers.${n}.mlp`, mlp],
    [`layers.${n}.self_attn`, attention],
  ]).flat();
  return SpftConfig.fromObject({
    ...{ skip_output_tokens: true, ...CHOICES[choice] },
    sparsity: Object.fromEntries(layers) as Record<string, number>,
  });
}
