/**
 * @file Statistics over runs: mean, median, symmetric trimmed means, deviation. (The original's mean of the middle 80 % of five values drops the
 * largest alone, and that of the middle 60 % of one is NaN.)
 */

export interface MetricStatistics {
  readonly n: number;
  readonly mean: number;
  readonly median: number;
  /** Of the middle 80 % and 60 % of the sorted values, as many left out at either end, rounded down. */
  readonly mean80: number;
  readonly mean60: number;
  readonly min: number;
  readonly max: number;
  /** Of the sample (n − 1); 0 for one value. */
  readonly std: number;
}

/** @throws RangeError when there is no value. */
export function statisticsOf(values: readonly number[]): MetricStatistics {
  if (values.length === 0) throw new RangeError('statisticsOf: wanted at least one value');
  const sorted = [...values].sort((a, b) => a - b);
  const n = sorted.length;
  const meanOf = (of: readonly number[]) => of.reduce((sum, value) => sum + value, 0) / of.length;
  const mean = meanOf(sorted);
  const trimmed = (share: number) => {
    // Rounded first: 5 · (1 − 0.6) / 2 is a little below 1 in double precision.
    const cut = Math.floor(Number(((n * (1 - share)) / 2).toFixed(9)));
    return meanOf(sorted.slice(cut, n - cut));
  };
  const squares = sorted.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return {
    ...{ n, mean, median: (sorted[(n - 1) >> 1]! + sorted[n >> 1]!) / 2 },
    ...{ mean80: trimmed(0.8), mean60: trimmed(0.6), min: sorted[0]!, max: sorted[n - 1]! },
    std: n > 1 ? Math.sqrt(squares / (n - 1)) : 0,
  };
}

/** Every metric that some run has, over the runs that have it. */
export function statisticsByMetric(
  runs: readonly Readonly<Record<string, number>>[],
): Record<string, MetricStatistics> {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run)))];
  return Object.fromEntries(
    names.map((name) => [name, statisticsOf(runs.flatMap((run) => (run[name] === undefined ? [] : [run[name]])))]),
  );
}
