/** @file A matrix stored in 4 bits by its rows as they come: what it is of all of it at once, however many come at a time. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { TEST_BACKENDS, useBackend } from '../../../../test/support/backends.js';
import { StoredFormError } from './form.js';
import { RowsIn4Bits } from './rows-in-4-bits.js';
import { formOf, originalSample, packedArrays, storeAs } from './stored-form.js';

const [OUT, IN] = [11, 128];

describe.each(TEST_BACKENDS)('RowsIn4Bits on %s', (backend) => {
  beforeAll(() => useBackend(backend));
  const numbers = () =>
    tf.tidy(() => tf.randomNormal([OUT, IN], 0, 1, 'float32', 9).dataSync() as Float32Array).slice();

  it.each([
    ['nf4', { doubleQuantisation: true, dtype: 'BF16' }, [1, 4, 6]],
    ['nf4', {}, [11]],
    ['fp4', { blockSize: 128 }, [0, 10, 1]],
  ] as const)(
    'gives the codes, scales and sample of storeAs in %s %j, of %j rows at a time',
    async (type, options, parts) => {
      const before = tf.memory().numTensors;
      const values = numbers();
      const x = tf.tensor2d(values, [OUT, IN]);
      const whole = storeAs(x, type, options);
      const rows = new RowsIn4Bits([OUT, IN], type, options);
      let at = 0;
      for (const count of parts) {
        const piece = values.slice(at * IN, (at + count) * IN);
        rows.add(piece);
        // Read before it returns.
        piece.fill(7);
        at += count;
      }
      const made = rows.finish();
      expect(made.shape).toEqual([OUT, IN]);
      expect(formOf(made)).toBe(type);
      expect(await packedArrays(made)).toEqual(await packedArrays(whole));
      expect(originalSample(made)).toEqual(originalSample(whole));
      expect(made.dataSync()).toEqual(whole.dataSync());
      tf.dispose([x, whole, made]);
      expect(tf.memory().numTensors).toBe(before);
    },
  );

  it('refuses what does not fit before anything comes, parts of rows, too many and too few, and numbers that are not finite', () => {
    const before = tf.memory().numTensors;
    expect(() => new RowsIn4Bits([4, 96], 'nf4')).toThrow('its rows are no multiple of that');
    const rows = new RowsIn4Bits([2, 64], 'nf4');
    expect(() => rows.add(new Float32Array(63))).toThrow('63 numbers are no rows of 64');
    expect(() => rows.add(new Float32Array(192))).toThrow('or more than are left of [2,64]');
    rows.add(new Float32Array(64));
    expect(() => rows.finish()).toThrow('64 numbers of [2,64] have come');
    rows.add(new Float32Array(64).fill(Number.POSITIVE_INFINITY, 3, 4));
    expect(() => rows.finish()).toThrow(StoredFormError);
    expect(() => rows.finish()).toThrow('numbers that are not finite, in row 1');
    expect(tf.memory().numTensors).toBe(before);
  });
});
