import { describe, expect, it } from 'vitest';
import { statisticsByMetric, statisticsOf } from './run-statistics.js';

describe('statisticsOf()', () => {
  it('trims as many values at either end', () => {
    const { mean, median, mean80, mean60, std, min, max } = statisticsOf([10, 1, 2, 3, 4]);
    expect([mean, median, mean80, mean60, min, max]).toEqual([4, 3, 4, 3, 1, 10]);
    expect(std).toBeCloseTo(Math.sqrt(50 / 4), 12);
    const ten = Array.from({ length: 10 }, (_, n) => (n === 9 ? 100 : n));
    expect([statisticsOf(ten).mean80, statisticsOf(ten).mean60]).toEqual([4.5, 4.5]);
  });

  it('knows one value, and refuses none', () => {
    expect(statisticsOf([7])).toEqual({ n: 1, mean: 7, median: 7, mean80: 7, mean60: 7, min: 7, max: 7, std: 0 });
    expect(() => statisticsOf([])).toThrow('at least one value');
  });
});

describe('statisticsByMetric()', () => {
  it('takes runs with other sets', () => {
    const all = statisticsByMetric([{ a: 1, b: 2 }, { a: 3 }]);
    expect([all.a!.n, all.a!.mean, all.b!.n]).toEqual([2, 2, 1]);
  });
});
