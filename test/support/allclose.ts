/** @file An allclose that teaches: where it differs, by how much, and how much of the allowance was used. */
import * as tf from '@tensorflow/tfjs';

export interface Tolerance {
  readonly relative: number;
  readonly absolute: number;
}

/** One table for the project: relative to the largest magnitude of the expected tensor, by kind of value. */
export const TOLERANCE = {
  output: { relative: 1e-4, absolute: 1e-6 },
  gradient: { relative: 1e-3, absolute: 1e-6 },
  finiteDifference: { relative: 2e-2, absolute: 1e-3 },
} as const satisfies Record<string, Tolerance>;

type Values = tf.Tensor | ArrayLike<number>;
const toArray = (v: Values): ArrayLike<number> => (v instanceof tf.Tensor ? v.dataSync() : v);

/** Throws unless every element is within absolute + relative · max|expected|; NaN never passes. */
export function expectAllClose(
  name: string,
  actual: Values,
  expected: Values,
  tolerance: Tolerance = TOLERANCE.output,
): void {
  const a = toArray(actual);
  const e = toArray(expected);
  if (a.length !== e.length) throw new Error(`${name}: ${a.length} values, expected ${e.length}`);
  let scale = 0;
  for (let i = 0; i < e.length; i++) scale = Math.max(scale, Math.abs(e[i]!));
  const allowed = tolerance.absolute + tolerance.relative * scale;
  const wrong: number[] = [];
  let largest = 0;
  for (let i = 0; i < e.length; i++) {
    const difference = Math.abs(a[i]! - e[i]!);
    if (!(difference <= allowed)) wrong.push(i);
    largest = Math.max(largest, Number.isNaN(difference) ? Infinity : difference);
  }
  if (wrong.length > 0) {
    const first = wrong.slice(0, 5).map((i) => `[${i}] ${a[i]} for ${e[i]}`);
    throw new Error(
      `${name}: ${wrong.length} of ${e.length} values differ; largest ${largest.toExponential(2)}, allowed ${allowed.toExponential(2)} ` +
        `(${((100 * largest) / allowed).toFixed(0)} %); first: ${first.join(', ')}`,
    );
  }
}
