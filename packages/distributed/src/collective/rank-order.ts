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
  // What is added to must not be written over before it was added.
  const [first, ...rest] = parts.map((part, rank) => (rank > 0 && part.buffer === into.buffer ? part.slice() : part));
  if (first !== into) into.set(first!);
  // Stored in the array's precision after each addition.
  for (const part of rest) for (let i = 0; i < into.length; i++) into[i]! += part[i]!;
}
