/** @file Decoding and encoding against what llama.cpp's own package makes of the same numbers (fixtures/make_quants.py), bit for bit. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { GGML_TYPES } from '../ggml-types.js';
import { DECODED_TYPES, type DecodedType, decode, isDecoded, isQuantized } from './decode.js';
import { type EncodedType, encode } from './encode.js';

const path = new URL('../../fixtures/quants.json', import.meta.url);
const fixtures = JSON.parse(readFileSync(path, 'utf8')) as Record<
  DecodedType,
  { input?: string; bytes: string; values: string }
>;
const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
const floatsOf = (text: string) => new Float32Array(bytesOf(text).buffer);

describe('decode()', () => {
  it.each(Object.entries(fixtures))('gives the values of %s', (type, { bytes, values }) => {
    const wanted = floatsOf(values);
    const target = new Float32Array(wanted.length);
    decode(type as DecodedType, bytesOf(bytes), target);
    expect(target).toEqual(wanted);
  });

  it('takes bytes and targets that begin anywhere', () => {
    const { bytes, values } = fixtures.Q6_K;
    const shifted = new Uint8Array([0, ...bytesOf(bytes)]).subarray(1);
    const target = new Float32Array(floatsOf(values).length + 3).subarray(3);
    decode('Q6_K', shifted, target);
    expect(target).toEqual(floatsOf(values));
    decode('F16', new Uint8Array([0, ...bytesOf(fixtures.F16.bytes)]).subarray(1), target.subarray(0, 1536));
    expect(target.subarray(0, 1536)).toEqual(floatsOf(fixtures.F16.values));
  });

  it('refuses bytes that are not as many as the target takes', () => {
    expect(() => decode('Q8_0', new Uint8Array(34), new Float32Array(64))).toThrow(
      'decode: 34 bytes of Q8_0 are not 64 elements',
    );
  });

  it('has a fixture for every type that it reads', () => {
    expect([...DECODED_TYPES].sort()).toEqual(['F32', ...Object.keys(fixtures)].sort());
    expect(isDecoded('IQ1_S')).toBe(false);
    expect([isQuantized('BF16'), isQuantized('Q4_K')]).toEqual([false, true]);
  });
});

describe('encode()', () => {
  it.each(['F16', 'BF16', 'Q8_0', 'Q4_0'] as const)(
    "makes the bytes of %s that llama.cpp's package makes",
    (type: EncodedType) => {
      const { input, bytes } = fixtures[type];
      expect(encode(type, floatsOf(input!))).toEqual(bytesOf(bytes));
    },
  );

  it('keeps float32 as it is, in bytes of its own', () => {
    const values = Float32Array.of(1, -0, 3e-42).subarray(0, 3);
    const bytes = encode('F32', values);
    values[0] = 9;
    expect(new Float32Array(bytes.buffer)).toEqual(Float32Array.of(1, -0, 3e-42));
  });

  it('refuses parts of blocks', () => {
    expect(() => encode('Q4_0', new Float32Array(33))).toThrow(
      '33 elements are no whole blocks of Q4_0, which have 32',
    );
    expect(GGML_TYPES.Q4_0.blockSize).toBe(32);
  });
});
