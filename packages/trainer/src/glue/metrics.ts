/** @file Metrics of classification and regression, as scikit-learn and scipy compute them. */
import type { GlueMetric } from './tasks.js';

type Values = ArrayLike<number>;

const total = (values: Values, of: (n: number) => number): number => {
  let sum = 0;
  for (let n = 0; n < values.length; n++) sum += of(n);
  return sum;
};

export function accuracy(predictions: Values, labels: Values): number {
  return total(labels, (n) => Number(predictions[n] === labels[n])) / labels.length;
}

/** Of class 1; 0 where nothing is of it, predicted or not. */
export function f1(predictions: Values, labels: Values): number {
  const both = total(labels, (n) => Number(predictions[n] === 1 && labels[n] === 1));
  const either = total(labels, (n) => Number(predictions[n] === 1) + Number(labels[n] === 1));
  return either === 0 ? 0 : (2 * both) / either;
}

/** Matthews' correlation, of any number of classes; 0 where all are of one class. */
export function matthewsCorrelation(predictions: Values, labels: Values): number {
  const [predicted, actual] = [new Map<number, number>(), new Map<number, number>()];
  let right = 0;
  for (let n = 0; n < labels.length; n++) {
    predicted.set(predictions[n]!, (predicted.get(predictions[n]!) ?? 0) + 1);
    actual.set(labels[n]!, (actual.get(labels[n]!) ?? 0) + 1);
    if (predictions[n] === labels[n]) right++;
  }
  const squares = (counts: ReadonlyMap<number, number>) =>
    [...counts.values()].reduce((sum, count) => sum + count ** 2, 0);
  const products = [...predicted].reduce((sum, [c, count]) => sum + count * (actual.get(c) ?? 0), 0);
  const all = labels.length;
  const scale = Math.sqrt((all ** 2 - squares(predicted)) * (all ** 2 - squares(actual)));
  return scale === 0 ? 0 : (right * all - products) / scale;
}

/** Pearson's correlation; NaN where one side is constant. */
export function pearson(a: Values, b: Values): number {
  const mean = (values: Values) => total(values, (n) => values[n]!) / values.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  const both = total(a, (n) => (a[n]! - meanA) * (b[n]! - meanB));
  const scale = Math.sqrt(total(a, (n) => (a[n]! - meanA) ** 2) * total(b, (n) => (b[n]! - meanB) ** 2));
  return scale === 0 ? Number.NaN : both / scale;
}

/** Spearman's correlation: of ranks, equal values sharing the mean of theirs. */
export function spearman(a: Values, b: Values): number {
  return pearson(ranks(a), ranks(b));
}

function ranks(values: Values): number[] {
  const order = Array.from({ length: values.length }, (_, n) => n).sort((x, y) => values[x]! - values[y]!);
  const result: number[] = new Array(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start + 1;
    while (end < order.length && values[order[end]!] === values[order[start]!]) end++;
    for (let n = start; n < end; n++) result[order[n]!] = (start + end + 1) / 2;
    start = end;
  }
  return result;
}

const METRICS: Readonly<Record<GlueMetric, (predictions: Values, labels: Values) => number>> = {
  ...{ accuracy, f1, matthews_correlation: matthewsCorrelation, pearson, spearmanr: spearman },
};

/** A task's metrics by name, and where there are two their mean as `combined_score`. */
export function glueMetrics(
  metrics: readonly GlueMetric[],
  predictions: Values,
  labels: Values,
): Record<string, number> {
  const values: Record<string, number> = Object.fromEntries(
    metrics.map((name) => [name, METRICS[name](predictions, labels)]),
  );
  if (metrics.length > 1) {
    values.combined_score = metrics.reduce((sum, name) => sum + values[name]!, 0) / metrics.length;
  }
  return values;
}
