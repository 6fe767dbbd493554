/**
 * @file Learning rate schedules: the formulae of transformers' `get_scheduler`.
 */

import type { TrainConfig } from '@spft/config';
import { TrainerError } from '../errors.js';

export type ScheduleName = TrainConfig['lrSchedulerType'];

export interface Schedule {
  readonly name: ScheduleName;
  readonly totalSteps: number;
  readonly warmupSteps: number;
  /** Peak rate, of which `polynomial` needs the size. */
  readonly learningRate?: number;
  /** `lr_scheduler_kwargs` by name. */
  readonly parameters?: Readonly<Record<string, number>>;
}

/** What each schedule may be given. */
const PARAMETERS: Readonly<Partial<Record<ScheduleName, readonly string[]>>> = {
  cosine: ['num_cycles'],
  cosine_with_restarts: ['num_cycles'],
  polynomial: ['lr_end', 'power'],
  inverse_sqrt: ['timescale'],
  warmup_stable_decay: ['num_decay_steps', 'min_lr_ratio', 'num_cycles'],
};

/**
 * `['num_cycles=2']` as parameters of a schedule.
 * @throws TrainerError for one that the schedule does not have, is no number, or is missing.
 */
export function scheduleParameters(name: ScheduleName, entries: readonly string[]): Record<string, number> {
  const known = PARAMETERS[name] ?? [];
  const parameters: Record<string, number> = {};
  for (const entry of entries) {
    const [key, text, ...rest] = entry.split('=').map((part) => part.trim());
    const value = text === undefined || text === '' ? Number.NaN : Number(text);
    if (rest.length > 0 || !Number.isFinite(value)) {
      throw new TrainerError('options', `lr_scheduler_kwargs: wanted NAME=NUMBER, found '${entry}'`);
    }
    if (!known.includes(key!)) {
      throw new TrainerError(
        'options',
        `lr_scheduler_kwargs: ${name} has no parameter '${key}' (${known.length === 0 ? 'it has none' : `it has ${known.join(', ')}`})`,
      );
    }
    parameters[key!] = value;
  }
  if (name === 'warmup_stable_decay' && parameters.num_decay_steps === undefined) {
    throw new TrainerError(
      'options',
      'lr_scheduler_type warmup_stable_decay needs lr_scheduler_kwargs num_decay_steps=N: over how many steps the rate falls at the end',
    );
  }
  return parameters;
}

/** Steps of warm-up: as given, else the ratio of all steps, rounded up. */
export function warmupSteps(totalSteps: number, given: { warmupSteps: number; warmupRatio: number }): number {
  return given.warmupSteps > 0 ? given.warmupSteps : Math.ceil(totalSteps * given.warmupRatio);
}

/** From 1 to 0 over half a cosine where `cycles` is 0.5. */
const cosine = (progress: number, cycles: number) => Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress)));

/**
 * What the peak learning rate is multiplied by.
 * @param step finished steps: the first step of a run is step 0.
 */
export function learningRateFactor(schedule: Schedule, step: number): number {
  const { name, totalSteps, warmupSteps, learningRate = 1, parameters = {} } = schedule;
  if (name === 'constant') return 1;
  if (step < warmupSteps) return step / Math.max(1, warmupSteps);
  const progress = (step - warmupSteps) / Math.max(1, totalSteps - warmupSteps);
  switch (name) {
    case 'constant_with_warmup':
      return 1;
    case 'linear':
      return Math.max(0, (totalSteps - step) / Math.max(1, totalSteps - warmupSteps));
    case 'cosine':
      return cosine(progress, parameters.num_cycles ?? 0.5);
    case 'cosine_with_restarts': {
      if (progress >= 1) return 0;
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * (((parameters.num_cycles ?? 1) * progress) % 1))));
    }
    case 'polynomial': {
      const { lr_end: end = 1e-7, power = 1 } = parameters;
      if (step > totalSteps) return end / learningRate;
      const remaining = 1 - (step - warmupSteps) / (totalSteps - warmupSteps);
      return ((learningRate - end) * remaining ** power + end) / learningRate;
    }
    case 'inverse_sqrt': {
      const timescale = parameters.timescale ?? (warmupSteps || 10_000);
      return 1 / Math.sqrt((step + timescale - warmupSteps) / timescale);
    }
    case 'warmup_stable_decay': {
      const { num_decay_steps: decaySteps = 0, min_lr_ratio: least = 0, num_cycles: cycles = 0.5 } = parameters;
      const stableUntil = totalSteps - decaySteps;
      if (step < stableUntil) return 1;
      if (step >= totalSteps) return least;
      return (1 - least) * cosine((step - stableUntil) / Math.max(1, decaySteps), cycles) + least;
    }
    default:
      throw new RangeError(`learningRateFactor: no schedule '${name satisfies never}'`);
  }
}
