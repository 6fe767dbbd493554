import { describe, expect, it } from 'vitest';
import { seedFrom } from '../loop/random.js';
import { speedRatio, speedStatistics } from './speed.js';

describe('speedStatistics()', () => {
  it('gives the middle and the spread of steps and of runs', () => {
    const { runMedians, runDeviation, ...rest } = speedStatistics([
      [1, 2, 3],
      [3, 4, 5],
    ]);
    expect(rest).toEqual({ runs: 2, steps: 6, median: 3, p20: 2, p80: 4 });
    expect(runMedians).toEqual([2, 4]);
    expect(runDeviation).toBeCloseTo(Math.SQRT2, 12);
    expect(speedStatistics([[7]]).runDeviation).toBe(0);
    expect(() => speedStatistics([[]])).toThrow('wanted at least one step');
  });
});

describe('speedRatio()', () => {
  /** Runs of a machine that gets slower from run to run, and batches of different lengths. */
  const baseline = [1, 2, 4].map((slow) => [10, 11, 30, 12, 10.5].map((step) => slow * step));

  it('is exact where the methods differ by a factor, whatever else the machine did: steps are compared in pairs', () => {
    const method = baseline.map((run) => run.map((step) => step / 2));
    const { ratio, low, high } = speedRatio(baseline, method);
    for (const value of [ratio, low, high]) expect(value).toBeCloseTo(2, 12);
  });

  /** Steps of about 1 s, each with noise of its own, in runs that are slow or fast as a whole. */
  const noisy = (runs: number, seed: number) =>
    Array.from({ length: runs }, (_, n) => {
      const uniform = (...parts: number[]) => seedFrom(seed, n, ...parts) / 2 ** 31 - 0.5;
      return Array.from({ length: 10 }, (_, k) => 1 + 0.1 * uniform() + 0.2 * uniform(k, 1));
    });

  it('has an interval that holds the truth about as often as it says, and is narrower with more runs', () => {
    const options = { resamples: 300 };
    const intervals = Array.from({ length: 60 }, (_, n) => speedRatio(noisy(5, 2 * n), noisy(5, 2 * n + 1), options));
    const holding = intervals.filter(({ low, high }) => low <= 1 && 1 <= high);
    expect(holding.length).toBeGreaterThan(50);
    expect(intervals.every(({ low, ratio, high }) => low < ratio && ratio < high)).toBe(true);
    const width = ({ low, high }: { low: number; high: number }) => high - low;
    const many = speedRatio(noisy(40, 1), noisy(40, 2), options);
    expect(width(many)).toBeLessThan(width(intervals[0]!) / 1.5);
    expect(speedRatio(noisy(5, 0), noisy(5, 1), options)).toEqual(intervals[0]);
  });

  it('refuses what cannot be paired', () => {
    expect(() => speedRatio([[1, 2]], [[1]])).toThrow('wanted the same steps in both, found 2 and 1');
  });
});
