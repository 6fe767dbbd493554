/** @file What is reported of repeated timings: middle and spread, as a mean says little on a machine that does other things too. */

export interface Quantiles {
  readonly p20: number;
  readonly p50: number;
  readonly p80: number;
}

/** Linear between neighbours, as numpy's default. @throws RangeError for no values. */
export function quantiles(values: readonly number[]): Quantiles {
  if (values.length === 0) throw new RangeError('quantiles: there are no values');
  const sorted = [...values].sort((a, b) => a - b);
  const at = (fraction: number) => {
    const place = fraction * (sorted.length - 1);
    const [low, high] = [Math.floor(place), Math.ceil(place)];
    return sorted[low]! + (sorted[high]! - sorted[low]!) * (place - low);
  };
  return { p20: at(0.2), p50: at(0.5), p80: at(0.8) };
}
