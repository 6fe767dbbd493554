/**
 * @file float32 to stored elements, by the rounding of ggml's `quantize_row_*_ref`: what llama.cpp makes of the same numbers. The quantities are float32
 * there, so every step is rounded to it here.
 */
import { float32ToBfloat16, float32ToFloat16 } from '@spft/safetensors';
import { GGML_TYPES } from '../ggml-types.js';

export const ENCODED_TYPES = ['F32', 'F16', 'BF16', 'Q8_0', 'Q4_0'] as const;
/** The types that can be written. */
export type EncodedType = (typeof ENCODED_TYPES)[number];

const { abs, fround, trunc } = Math;

/**
 * @param values whole blocks of the type.
 * @returns little-endian bytes, that are nobody else's.
 */
export function encode(type: EncodedType, values: Float32Array): Uint8Array {
  const { blockSize, blockBytes } = GGML_TYPES[type];
  if (values.length % blockSize !== 0) {
    throw new RangeError(`encode: ${values.length} elements are no whole blocks of ${type}, which have ${blockSize}`);
  }
  if (type === 'F32') return new Uint8Array(values.slice().buffer);
  if (type === 'F16') return new Uint8Array(float32ToFloat16(values).buffer);
  if (type === 'BF16') return new Uint8Array(float32ToBfloat16(values).buffer);
  const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
  const block = type === 'Q8_0' ? encodeQ8_0 : encodeQ4_0;
  for (let from = 0, at = 0; from < values.length; from += blockSize, at += blockBytes) block(values, from, bytes, at);
  return bytes;
}

const scale = new Float32Array(1);

function putFloat16(value: number, bytes: Uint8Array, at: number): void {
  scale[0] = value;
  const half = float32ToFloat16(scale)[0]!;
  bytes[at] = half & 255;
  bytes[at + 1] = half >> 8;
}

function encodeQ8_0(values: Float32Array, from: number, bytes: Uint8Array, at: number): void {
  let most = 0;
  for (let i = 0; i < 32; i++) most = Math.max(most, abs(values[from + i]!));
  const d = fround(most / 127);
  const inverse = d === 0 ? 0 : fround(1 / d);
  putFloat16(d, bytes, at);
  for (let i = 0; i < 32; i++) {
    const x = fround(values[from + i]! * inverse);
    // C's roundf: halves away from zero.
    bytes[at + 2 + i] = x < 0 ? -trunc(-x + 0.5) : trunc(x + 0.5);
  }
}

function encodeQ4_0(values: Float32Array, from: number, bytes: Uint8Array, at: number): void {
  let [most, signed] = [0, 0];
  for (let i = 0; i < 32; i++) {
    const x = values[from + i]!;
    if (abs(x) > most) [most, signed] = [abs(x), x];
  }
  // The value that is furthest from zero becomes -8, the code without a counterpart, whatever its sign.
  const d = fround(signed / -8);
  const inverse = d === 0 ? 0 : fround(1 / d);
  putFloat16(d, bytes, at);
  const code = (i: number) => Math.min(15, trunc(fround(fround(values[from + i]! * inverse) + 8.5)));
  for (let i = 0; i < 16; i++) bytes[at + 2 + i] = code(i) | (code(i + 16) << 4);
}
