/** @file Which evaluation was the best: `metric_for_best_model` and `greater_is_better`. */
import { TrainerError } from '../errors.js';
import type { LogEntry } from '../loop/state.js';
import type { TrainingArgs } from '../loop/training-args.js';

type BestArgs = Pick<TrainingArgs, 'metricForBestModel' | 'greaterIsBetter' | 'loadBestModelAtEnd'>;

/**
 * The metric's value where it is better than the best so far, else null.
 * @throws TrainerError when the evaluation has no such metric.
 */
export function betterMetric(metrics: LogEntry, best: number | null, args: BestArgs): number | null {
  const { metricForBestModel, greaterIsBetter, loadBestModelAtEnd } = args;
  const wanted = metricForBestModel ?? 'loss';
  const name = wanted.startsWith('eval_') ? wanted : `eval_${wanted}`;
  const value = metrics[name];
  if (value === undefined) {
    if (metricForBestModel === null && !loadBestModelAtEnd) return null;
    const found = Object.keys(metrics).join(', ');
    throw new TrainerError('options', `metric_for_best_model: wanted ${name}, the evaluation gives ${found}`);
  }
  const greater = greaterIsBetter ?? !wanted.endsWith('loss');
  const better = best === null ? !Number.isNaN(value) : greater ? value > best : value < best;
  return better ? value : null;
}
