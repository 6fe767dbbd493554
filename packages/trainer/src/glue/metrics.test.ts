import { describe, expect, it } from 'vitest';
import fixture from '../../test/fixtures/glue-metrics.json' with { type: 'json' };
import { accuracy, f1, glueMetrics, matthewsCorrelation, pearson, spearman } from './metrics.js';

describe('metrics', () => {
  it.each(fixture.classification)('equal scikit-learn’s of classes ($predictions.length examples)', (row) => {
    expect(accuracy(row.predictions, row.labels)).toBeCloseTo(row.accuracy, 12);
    expect(matthewsCorrelation(row.predictions, row.labels)).toBeCloseTo(row.matthews_correlation, 12);
    if (row.f1 !== undefined) expect(f1(row.predictions, row.labels)).toBeCloseTo(row.f1, 12);
  });

  it.each(fixture.regression)('equal scipy’s of scores with ties ($predictions.length examples)', (row) => {
    expect(pearson(row.predictions, row.labels)).toBeCloseTo(row.pearson, 12);
    expect(spearman(row.predictions, row.labels)).toBeCloseTo(row.spearmanr, 12);
  });

  it('are combined by their mean where a task has two', () => {
    const values = glueMetrics(['accuracy', 'f1'], [1, 0, 1, 1], [1, 0, 0, 1]);
    expect(values).toEqual({ accuracy: 0.75, f1: 0.8, combined_score: 0.775 });
    expect(glueMetrics(['accuracy'], [1], [1])).toEqual({ accuracy: 1 });
    expect(pearson([1, 1], [1, 2])).toBeNaN();
    expect(f1([0], [0])).toBe(0);
  });
});
