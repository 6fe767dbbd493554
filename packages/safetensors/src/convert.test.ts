import { describe, expect, it } from 'vitest';
import { bfloat16ToFloat32, float16ToFloat32, float32ToBfloat16, float32ToFloat16 } from './convert.js';

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
const floats = new Float32Array(65536);

describe('float16ToFloat32()', () => {
  it('gives every half-precision value its arithmetic meaning', () => {
    float16ToFloat32(all, floats);
    for (let h = 0; h < 65536; h++) {
      const [sign, exponent, mantissa] = [h >> 15 ? -1 : 1, (h >> 10) & 31, h & 1023];
      const value =
        exponent === 31
          ? mantissa
            ? Number.NaN
            : sign * Infinity
          : sign * (exponent ? 2 ** (exponent - 15) * (1 + mantissa / 1024) : 2 ** -24 * mantissa);
      if (!Object.is(floats[h], value)) throw new Error(`half ${h}: ${floats[h]} for ${value}`);
    }
  });
});

describe('float32ToFloat16()', () => {
  it('is the inverse on every half-precision value', () => {
    float16ToFloat32(all, floats);
    const back = float32ToFloat16(floats);
    for (let h = 0; h < 65536; h++) {
      if (Number.isNaN(floats[h]!) ? (back[h]! & 0x7e00) !== 0x7e00 : back[h] !== h)
        throw new Error(`half ${h}: ${back[h]}`);
    }
  });

  it('rounds to the nearest, ties to even', () => {
    const at = (x: number) => {
      const out = new Float32Array(1);
      float16ToFloat32(float32ToFloat16(Float32Array.of(x)), out);
      return out[0];
    };
    expect(at(1 + 1 / 2048)).toBe(1);
    expect(at(1 + 3 / 2048)).toBe(1 + 4 / 2048);
    expect(at(1 + 1.01 / 2048)).toBe(1 + 2 / 2048);
    expect(at(65519)).toBe(65504);
    expect(at(65520)).toBe(Infinity);
    expect(at(-1e9)).toBe(-Infinity);
    expect(at(2 ** -25)).toBe(0);
    expect(at(2 ** -25 * 1.01)).toBe(2 ** -24);
    expect(at(2 ** -24 * 1.5)).toBe(2 ** -23);
    expect(at(2 ** -14 - 2 ** -26)).toBe(2 ** -14);
    expect(Object.is(at(-1e-30), -0)).toBe(true);
  });
});

describe('float32ToBfloat16()', () => {
  it('is the inverse of bfloat16ToFloat32 on every value but NaN, which stays NaN', () => {
    bfloat16ToFloat32(all, floats);
    const back = float32ToBfloat16(floats);
    for (let b = 0; b < 65536; b++) {
      if (Number.isNaN(floats[b]!) ? (back[b]! & 0x7f80) !== 0x7f80 || (back[b]! & 0x7f) === 0 : back[b] !== b) {
        throw new Error(`bfloat16 ${b}: ${back[b]}`);
      }
    }
  });

  it('rounds to the nearest, ties to even', () => {
    const at = (x: number) => float32ToBfloat16(Float32Array.of(x))[0]!;
    expect(at(1 + 1 / 256)).toBe(0x3f80);
    expect(at(1 + 3 / 256)).toBe(0x3f82);
    expect(at(1 + 1.01 / 256)).toBe(0x3f81);
    expect(at(3.4e38)).toBe(0x7f80);
    // A NaN whose upper half is that of infinity.
    expect(float32ToBfloat16(new Float32Array(Uint32Array.of(0x7f800001).buffer))[0]).toBe(0x7fc0);
  });
});
