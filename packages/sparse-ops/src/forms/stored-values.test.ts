/** @file Bytes of files as floats: every number of 16 bits against what it means, wherever the bytes lie. */
import { describe, expect, it } from 'vitest';
import { writeStored } from './stored-values.js';

const all = () => new Uint8Array(Uint16Array.from({ length: 65536 }, (_, n) => n).buffer);

describe('writeStored()', () => {
  it('has every float16 and bf16 as what it is', () => {
    const to = new Float32Array(65536);
    writeStored(all(), 'F16', to);
    for (let half = 0; half < 65536; half++) {
      const [sign, exponent, fraction] = [half >> 15 ? -1 : 1, (half >> 10) & 31, half & 1023];
      const wanted =
        exponent === 31
          ? fraction === 0
            ? sign * Number.POSITIVE_INFINITY
            : Number.NaN
          : sign * (exponent === 0 ? fraction / 1024 : 1 + fraction / 1024) * 2 ** (Math.max(exponent, 1) - 15);
      if (!Object.is(to[half], wanted)) expect([half, to[half]]).toEqual([half, wanted]);
    }
    writeStored(all(), 'BF16', to);
    const bits = new Uint32Array(to.buffer);
    expect(bits.every((word, n) => word === n * 65536)).toBe(true);
  });

  it('reads bytes at any offset, and writes nothing behind them', () => {
    const floats = Float32Array.of(1.5, -2, 1e-40);
    for (const offset of [0, 1, 2, 3]) {
      const buffer = new Uint8Array(offset + 12);
      buffer.set(new Uint8Array(floats.buffer), offset);
      const to = new Float32Array(4).fill(7);
      writeStored(buffer.subarray(offset), 'F32', to);
      expect([...to]).toEqual([...floats, 7]);
      writeStored(buffer.subarray(offset, offset + 4), 'BF16', to);
      expect([...to.subarray(2)]).toEqual([floats[2], 7]);
    }
  });
});
