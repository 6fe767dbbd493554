/** @file Numbers that depend on the seed alone, so that every run measures the same values. */

/** `count` numbers of mean 0 and standard deviation `deviation`, evenly spread. */
export function uniform(count: number, seed: number, deviation = 1): Float32Array {
  const scale = deviation * Math.sqrt(3);
  let state = (Math.imul(seed + 1, 2654435761) ^ 0x9e3779b9) >>> 0;
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    values[i] = (state / 2 ** 31 - 1) * scale;
  }
  return values;
}

/** `count` whole numbers in [0, below). */
export function integers(count: number, below: number, seed: number): Int32Array {
  return Int32Array.from(uniform(count, seed), (x) =>
    Math.min(below - 1, Math.floor(((x / Math.sqrt(3) + 1) / 2) * below)),
  );
}
