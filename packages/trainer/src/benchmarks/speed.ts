/**
 * @file How fast methods are beside each other: middle and spread of the seconds that steps take, and how much faster one method is than another
 * with a confidence interval. Methods take turns run by run, and step k of run n has the same batch for all of them, so they are compared in pairs.
 */

import { assertKnownOptions } from '@spft/safetensors/internals';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** Seconds of each timed step, run by run. */
export type StepSeconds = readonly (readonly number[])[];

export interface SpeedStatistics {
  readonly runs: number;
  readonly steps: number;
  /** Of all steps of all runs. */
  readonly median: number;
  readonly p20: number;
  readonly p80: number;
  readonly runMedians: readonly number[];
  /** Sample deviation (n − 1) of the runs' medians; 0 for one run. */
  readonly runDeviation: number;
}

export interface SpeedRatio {
  /** Median of the baseline's steps over that of the method's: above 1 the method is faster. */
  readonly ratio: number;
  /** Percentile interval of the bootstrap. */
  readonly low: number;
  readonly high: number;
}

export interface BootstrapOptions {
  /** Default 2000. */
  readonly resamples?: number;
  /** Default 0.95. */
  readonly level?: number;
  readonly seed?: number;
}

export const BOOTSTRAP = { resamples: 2000, level: 0.95 } as const;

/** @throws RangeError when there is no step. */
export function speedStatistics(seconds: StepSeconds): SpeedStatistics {
  const all = seconds.flat().sort((a, b) => a - b);
  if (all.length === 0) throw new RangeError('speedStatistics: wanted at least one step');
  const runMedians = seconds
    .filter((run) => run.length > 0)
    .map((run) =>
      quantile(
        [...run].sort((a, b) => a - b),
        0.5,
      ),
    );
  const mean = runMedians.reduce((sum, value) => sum + value, 0) / runMedians.length;
  const squares = runMedians.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    ...{ runs: runMedians.length, steps: all.length, median: quantile(all, 0.5), p20: quantile(all, 0.2) },
    ...{ p80: quantile(all, 0.8), runMedians },
    runDeviation: runMedians.length > 1 ? Math.sqrt(squares / (runMedians.length - 1)) : 0,
  };
}

/**
 * How much faster `method` is than `baseline`. The interval is that of a two-stage bootstrap of pairs: runs are drawn with replacement, then in each run
 * its steps, the same ones for both methods, so that neither a slow stretch of the machine nor a long batch counts for one of them alone.
 * @throws RangeError when runs or steps of the two are not the same in number.
 */
export function speedRatio(baseline: StepSeconds, method: StepSeconds, options: BootstrapOptions = {}): SpeedRatio {
  assertKnownOptions('speedRatio', options, { resamples: true, level: true, seed: true });
  const { resamples = BOOTSTRAP.resamples, level = BOOTSTRAP.level, seed = 1 } = options;
  if (baseline.length !== method.length || baseline.some((run, n) => run.length !== method[n]!.length)) {
    const shape = (seconds: StepSeconds) => seconds.map((run) => run.length).join(', ') || 'none';
    throw new RangeError(`speedRatio: wanted the same steps in both, found ${shape(baseline)} and ${shape(method)}`);
  }
  const ratioOf = (a: number[], b: number[]) => quantile(a.sort(ascending), 0.5) / quantile(b.sort(ascending), 0.5);
  const random = xoroshiro128plus(seed);
  const draw = (below: number) => uniformInt(random, 0, below - 1);
  const drawn = Array.from({ length: resamples }, () => {
    const [a, b]: [number[], number[]] = [[], []];
    for (let n = 0; n < baseline.length; n++) {
      const run = draw(baseline.length);
      const [ofBaseline, ofMethod] = [baseline[run]!, method[run]!];
      for (let k = 0; k < ofBaseline.length; k++) {
        const step = draw(ofBaseline.length);
        a.push(ofBaseline[step]!);
        b.push(ofMethod[step]!);
      }
    }
    return ratioOf(a, b);
  }).sort(ascending);
  const tail = (1 - level) / 2;
  return {
    ratio: ratioOf(baseline.flat(), method.flat()),
    low: quantile(drawn, tail),
    high: quantile(drawn, 1 - tail),
  };
}

const ascending = (a: number, b: number) => a - b;

/** Linear between neighbours, as numpy's default. */
function quantile(sorted: readonly number[], fraction: number): number {
  const place = fraction * (sorted.length - 1);
  const low = Math.floor(place);
  return sorted[low]! + ((sorted[low + 1] ?? sorted[low]!) - sorted[low]!) * (place - low);
}
