/** @file Forms of frozen matrices where a backend has none, and the oracle of E4M3. `backend-cuda` has the tests of the form itself. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import {
  e4m3FinestScale,
  e4m3GradientRowsReference,
  e4m3Scale,
  e4m3WeightScale,
  roundToE4m3,
} from '../engine/e4m3.reference.js';
import { StoredFormError } from './form.js';
import type { PackedArraysOf } from './four-bit.js';
import { formOf, originalSample, packedArrays, spreadPlaces, storeAs, storePacked } from './stored-form.js';

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

describe.each(TEST_BACKENDS)('storeAs() in 4 bits on %s', (backend) => {
  beforeAll(() => useBackend(backend));

  it('refuses rows that are no multiple of a block, numbers that are not finite, and what is in a form already; leaves nothing', () => {
    const before = tf.memory().numTensors;
    const odd = tf.zeros([4, 96]) as tf.Tensor2D;
    const broken = tf.tensor2d(
      Float32Array.from({ length: 128 }, (_, n) => (n === 70 ? Number.NaN : n)),
      [2, 64],
    );
    const good = tf.ones([2, 64]) as tf.Tensor2D;
    const stored = storeAs(good, 'nf4');
    expect(() => storeAs(odd, 'nf4')).toThrow(StoredFormError);
    expect(() => storeAs(odd, 'nf4')).toThrow('a weight [4,96] cannot be stored in 4 bits by blocks of 64');
    expect(() => storeAs(good, 'nf4', { blockSize: 48 })).toThrow('not 48');
    expect(() => storeAs(broken, 'fp4')).toThrow('numbers that are not finite, in row 1');
    expect(() => storeAs(stored, 'fp4')).toThrow('a weight in nf4 cannot be stored in fp4: it would be rounded twice');
    tf.dispose([odd, broken, good, stored]);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('takes codes apart and puts them together again, and says which part does not fit', async () => {
    const x = tf.randomNormal([6, 128], 0, 1, 'float32', 5) as tf.Tensor2D;
    const first = storeAs(x, 'nf4', { doubleQuantisation: true, dtype: 'BF16' });
    const arrays = (await packedArrays(first))!;
    const second = storePacked(arrays);
    expect([...second.dataSync()]).toEqual([...first.dataSync()]);
    expect(await packedArrays(second)).toEqual(arrays);
    expect(await packedArrays(x)).toBeNull();
    const { spread } = originalSample(second)!;
    expect([...spread]).toEqual([...spreadPlaces(x.size)].map((place) => first.dataSync()[place]));
    expect(originalSample(first)!.first[3]).toBe(x.dataSync()[3]);
    const before = tf.memory().numTensors;
    const faults = [
      [{ codes: arrays.codes.slice(1) }, '384 bytes of codes, found 383'],
      [{ absmax: arrays.absmax.slice(2) }, '12 scales of 64 numbers, found 10'],
      [{ nestedAbsmax: undefined }, '1 scales of 256 scales, found none'],
      [{ nestedMap: new Float32Array(16) }, 'found 16'],
    ] as const;
    for (const [fault, said] of faults) {
      expect(() => storePacked({ ...arrays, ...fault } as PackedArraysOf)).toThrow(said);
    }
    expect(tf.memory().numTensors).toBe(before);
    tf.dispose([x, first, second]);
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
    expect([...e4m3GradientRowsReference(Float32Array.of(1, 1.06, 1000, 1060), 2)]).toEqual([1, 1, 1024, 1024]);
    // The greatest number of a row is a code as it is; by 256 a second one of 15/16 is too, by the codes before and after it is not.
    const others = Float32Array.of(...[1, ...Array(7).fill(0)], 15 / 16);
    expect(e4m3FinestScale(others)).toEqual({ scale: 2 ** -8, inverse: 2 ** 8 });
    expect(e4m3FinestScale(Float32Array.of(1.1)).scale).toBe(Math.fround(Math.fround(1.1) / 240));
    expect([0, 2 ** -120].map((x) => e4m3FinestScale(Float32Array.of(x)).scale)).toEqual([1, 2 ** -128]);
  });
});
