/** @file In how wide words memory may be copied. */

/** The widest unit of 16, 4, 2 or 1 bytes that all of these, lengths in bytes and addresses, are multiples of. */
export const unitOf = (...multiples: readonly number[]): number =>
  [16, 4, 2].find((unit) => multiples.every((n) => n % unit === 0)) ?? 1;
