import { describe, expect, it } from 'vitest';
import { firstNonFinite, firstNonFiniteStored } from './finite.js';

describe('firstNonFiniteStored()', () => {
  const cases = [
    ['BF16', [0, 0x7f7f, 0xff7f, 0x8000, 1], [0x7f80, 0xff80, 0x7fc0, 0x7f81]],
    ['F16', [0, 0x7bff, 0xfbff, 0x8000, 1], [0x7c00, 0xfc00, 0x7e00, 0x7c01]],
  ] as const;
  it.each(cases)('finds every NaN and infinity among %s, wherever it stands', (stored, finite, others) => {
    for (const length of [1, 2, 3, 8, 9]) {
      const good = Uint16Array.from({ length }, (_, n) => finite[n % finite.length]!);
      const bytes = (values: Uint16Array) => new Uint8Array(values.buffer);
      expect(firstNonFiniteStored(bytes(good), stored)).toBe(-1);
      for (let at = 0; at < length; at++) {
        for (const value of others) {
          const bad = good.slice();
          bad[at] = value;
          expect(firstNonFiniteStored(bytes(bad), stored)).toBe(at);
        }
      }
    }
  });

  it('does so for F32, and for bytes at an odd offset', () => {
    const bytes = new Uint8Array(Float32Array.of(1, -3e38, Number.NaN).buffer);
    expect(firstNonFiniteStored(bytes, 'F32')).toBe(2);
    expect(firstNonFiniteStored(bytes.subarray(0, 8), 'F32')).toBe(-1);
    const odd = new Uint8Array(13);
    odd.set(bytes, 1);
    expect(firstNonFiniteStored(odd.subarray(1), 'F32')).toBe(2);
  });
});

describe('firstNonFinite()', () => {
  it('passes every finite number and names the first other', () => {
    expect(firstNonFinite(Float32Array.of(0, -0, 1e-45, 3.4e38))).toBe(-1);
    expect(firstNonFinite(Float32Array.of(0, Number.NEGATIVE_INFINITY, Number.NaN))).toBe(1);
  });
});
