/** @file The sum that every collective of the host agrees on: in the order of ranks, so that its bits depend on nothing else. */
import type { Summable } from './collective.js';

/**
 * Adds `parts` up in their order, into `into`, which may be one of them.
 * @throws RangeError where their lengths differ.
 */
export function sumInRankOrder<T extends Summable>(parts: readonly T[], into: T): void {
  parts.forEach((part, rank) => {
    if (part.length !== into.length || part.BYTES_PER_ELEMENT !== into.BYTES_PER_ELEMENT) {
      throw new RangeError(
        `all-reduce: rank ${rank} gave ${part.length} numbers of ${8 * part.BYTES_PER_ELEMENT} bits where others gave ${into.length} of ${8 * into.BYTES_PER_ELEMENT}`,
      );
    }
  });
  // Element by element, as `into` may be any of the parts.
  for (let i = 0; i < into.length; i++) {
    let sum = parts[0]![i]!;
    if (into instanceof Float32Array) for (let r = 1; r < parts.length; r++) sum = Math.fround(sum + parts[r]![i]!);
    else for (let r = 1; r < parts.length; r++) sum += parts[r]![i]!;
    into[i] = sum;
  }
}
