/** @file Training and validation set out of one. */
import { seedFrom, shuffledOrder } from '../loop/random.js';

/** Keeps the draw apart from those of shuffling with the same seed. */
const SPLIT = 0x5b117;

export interface Split<T> {
  readonly train: T[];
  readonly validation: T[];
}

/**
 * Draws a validation set; both parts keep the order of the whole.
 * @param validation how many items, or which fraction of them if below 1 (rounded to the nearest).
 * @throws RangeError when it is negative, no whole number from 1 on, or leaves nothing to train on.
 */
export function splitDataset<T>(items: readonly T[], validation: number, seed: number): Split<T> {
  const count = validation < 1 ? Math.round(validation * items.length) : validation;
  if (!(Number.isInteger(count) && count >= 0 && (count < items.length || count === 0))) {
    throw new RangeError(
      `splitDataset: validation is ${validation} of ${items.length} items; wanted a fraction below 1 or a count that leaves some to train on`,
    );
  }
  const drawn = new Set(shuffledOrder(items.length, seedFrom(seed, SPLIT), 0).subarray(0, count));
  return {
    train: items.filter((_, i) => !drawn.has(i)),
    validation: items.filter((_, i) => drawn.has(i)),
  };
}

/** `count` items drawn by the seed, or the first ones without a seed, in their order; all where there are no more. */
export function subset<T>(items: readonly T[], count: number, seed?: number): T[] {
  if (!(Number.isInteger(count) && count > 0)) {
    throw new RangeError(`subset: count is ${count}, must be a positive whole number`);
  }
  if (count >= items.length || seed === undefined) return items.slice(0, count);
  return splitDataset(items, count, seed).validation;
}
