/** @file Forms of frozen matrices where a backend has none, and the oracle of E4M3. `backend-cuda` has the tests of the form itself. */
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { useBackend } from '../../../../test/support/backends.js';
import { e4m3RowsReference, e4m3Scale, e4m3WeightScale, roundToE4m3 } from './e4m3.reference.js';
import { formOf, StoredFormError, storeAs } from './stored-form.js';

describe('storeAs()', () => {
  it.each(['cpu', 'wasm'])('says what %s lacks, and leaves nothing', async (backend) => {
    await useBackend(backend);
    const x = tf.tensor2d([1, 2, 3, 4], [2, 2]);
    const before = tf.memory().numTensors;
    expect(() => storeAs(x, 'fp8')).toThrow(StoredFormError);
    expect(() => storeAs(x, 'fp8')).toThrow(`which the backend '${backend}' does not have; cuda has them`);
    expect(tf.memory().numTensors).toBe(before);
    expect(formOf(x)).toBeNull();
    x.dispose();
  });
});

describe('the oracle of E4M3', () => {
  it('has every number that a code stands for, and rounds between neighbours to the nearest, ties to even', () => {
    const numbers = Array.from({ length: 127 }, (_, code) => {
      const [exponent, fraction] = [code >> 3, code & 7];
      return exponent === 0 ? fraction * 2 ** -9 : (8 + fraction) * 2 ** (exponent - 10);
    });
    expect(numbers.at(-1)).toBe(448);
    numbers.forEach((x, code) => {
      expect([roundToE4m3(x), roundToE4m3(-x)]).toEqual([x, -x]);
      const above = numbers[code + 1];
      if (above === undefined) return;
      const middle = (x + above) / 2;
      expect(roundToE4m3(middle)).toBe(code % 2 === 0 ? x : above);
      expect(roundToE4m3(middle * (1 - 1e-6))).toBe(x);
      expect(roundToE4m3(middle * (1 + 1e-6))).toBe(above);
    });
    expect([roundToE4m3(1e9), roundToE4m3(-Infinity)]).toEqual([448, -448]);
  });

  it('scales by powers of two, so that the greatest is at most 448', () => {
    expect([448, 449, 224, 225, 1, 1.75, 1.76, 0].map((x) => e4m3Scale([x / 3, -x]))).toEqual([
      1,
      2,
      0.5,
      1,
      2 ** -8,
      2 ** -8,
      2 ** -7,
      1,
    ]);
    expect([0.01, 0.3, 3.4, 3.6].map((x) => e4m3WeightScale([x]))).toEqual([2 ** -15, 2 ** -7, 2 ** -7, 2 ** -6]);
    expect([...e4m3RowsReference(Float32Array.of(1, 1.06, 1000, 1060), 2)]).toEqual([1, 1, 1024, 1024]);
  });
});
