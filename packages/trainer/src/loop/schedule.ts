/**
 * @file Learning rate schedules: the formulae of transformers' `get_scheduler`.
 */

export type ScheduleName = 'linear' | 'cosine' | 'constant' | 'constant_with_warmup';

export interface Schedule {
  readonly name: ScheduleName;
  readonly totalSteps: number;
  readonly warmupSteps: number;
}

/** Steps of warm-up: as given, else the ratio of all steps, rounded up. */
export function warmupSteps(totalSteps: number, given: { warmupSteps: number; warmupRatio: number }): number {
  return given.warmupSteps > 0 ? given.warmupSteps : Math.ceil(totalSteps * given.warmupRatio);
}

/**
 * What the peak learning rate is multiplied by.
 * @param step finished steps: the first step of a run is step 0.
 */
export function learningRateFactor({ name, totalSteps, warmupSteps }: Schedule, step: number): number {
  if (name === 'constant') return 1;
  if (step < warmupSteps) return step / Math.max(1, warmupSteps);
  switch (name) {
    case 'constant_with_warmup':
      return 1;
    case 'linear':
      return Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps));
    case 'cosine': {
      const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
    }
    default:
      throw new RangeError(`learningRateFactor: no schedule '${name satisfies never}'`);
  }
}
