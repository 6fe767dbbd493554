/** @file Numbers of the conformance suite: random ones by seed, and how far two lists of them are apart. */

/** Normal numbers from a seed. */
export function normals(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  // mulberry32
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next()),
  );
}

/** What is said of numbers that are too far apart, or null: ‖difference‖ is at most `tolerance` of ‖expected‖; NaN never passes. */
export function difference(
  about: string,
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): string | null {
  if (actual.length !== expected.length) return `${about}: ${actual.length} numbers for ${expected.length}`;
  let [error, norm] = [0, 0];
  const wrong: string[] = [];
  for (let i = 0; i < expected.length; i++) {
    const [a, e] = [actual[i]!, expected[i]!];
    error += (a - e) ** 2;
    norm += e ** 2;
    if (!(Math.abs(a - e) <= tolerance * (1 + Math.abs(e))) && wrong.length < 4) wrong.push(`[${i}] ${a} for ${e}`);
  }
  // What cancels to nearly nothing keeps the errors of its terms.
  const allowed = tolerance * Math.sqrt(norm) + (tolerance > 0 ? 2e-6 * Math.sqrt(expected.length) : 0);
  if (Math.sqrt(error) <= allowed) return null;
  return `${about}: off by ${Math.sqrt(error).toExponential(2)}, allowed ${allowed.toExponential(2)}: ${wrong.join(', ')}`;
}
