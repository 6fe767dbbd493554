/** @file What tests of matrices in E4M3 have in common: numbers that bf16 has, products in double precision, and runs whose bits must not change. */
import type { ChannelSelection } from '@spft/sparse-ops';
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import { bf16Tensor, random, roundToBf16, SEED } from './compare.js';
import { cuda } from './cuda.js';

const next = random(SEED);
const normal = () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());
/** Normal numbers that bf16 has. */
export const numbers = (count: number, size = 1) =>
  Float32Array.from({ length: count }, () => roundToBf16(size * normal()));
export const matrix = (rows: number, columns: number, values = numbers(rows * columns)) =>
  bf16Tensor([...values], [rows, columns]) as tf.Tensor2D;
export const selection = (indices: number[], total: number): ChannelSelection => ({
  indices: tf.tensor1d(indices, 'int32'),
  kept: indices.length,
  total,
});

/** x·Wᵀ, or x·W, of plain numbers in double precision. */
export function times(
  x: ArrayLike<number>,
  rows: number,
  w: ArrayLike<number>,
  [out, inputs]: [number, number],
  transposed = false,
): number[] {
  const [inner, n] = transposed ? [out, inputs] : [inputs, out];
  return Array.from({ length: rows * n }, (_, at) => {
    const [t, j] = [Math.floor(at / n), at % n];
    let sum = 0;
    for (let i = 0; i < inner; i++) sum += x[t * inner + i]! * w[transposed ? i * inputs + j : j * inputs + i]!;
    return sum;
  });
}

/** ‖a − b‖ / ‖b‖. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let [difference, norm] = [0, 0];
  for (let n = 0; n < b.length; n++) {
    difference += (a[n]! - b[n]!) ** 2;
    norm += b[n]! ** 2;
  }
  expect(a.length).toBe(b.length);
  return Math.sqrt(difference / norm);
}

/** Runs `f` twice: the same bits, and nothing left on the device. */
export function twice(f: () => tf.Tensor[]): Float32Array[] {
  const run = () => {
    const results = tf.tidy(f);
    const values = results.map((result) => result.dataSync() as Float32Array);
    tf.dispose(results);
    return values;
  };
  const first = run();
  const held = cuda().memoryPool.bytes;
  expect(run()).toEqual(first);
  expect(cuda().memoryPool.bytes).toBe(held);
  return first;
}

/** What a code stands for: a sign, four bits of the exponent, three of the number. */
function fromE4m3(code: number): number {
  const [exponent, bits] = [(code >> 3) & 15, code & 7];
  return (code & 128 ? -1 : 1) * (exponent === 0 ? bits * 2 ** -9 : (8 + bits) * 2 ** (exponent - 10));
}

/** Random codes but those of NaN, and what they stand for. */
export function randomCodes(count: number): { bytes: Uint8Array; values: Float32Array } {
  const random = numbers(count, 16);
  const bytes = Uint8Array.from(random, (x, n) => (Math.abs(Math.round(x)) % 120) + (n % 2 ? 128 : 0));
  return { bytes, values: Float32Array.from(bytes, fromE4m3) };
}
