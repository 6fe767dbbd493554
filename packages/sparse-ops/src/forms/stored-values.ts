/** @file The floats that a file's bytes stand for, written where they are wanted: bf16, float16 and float32, little-endian. */
import type { StoredType } from '../contract/layers.js';

export const STORED_BYTES: Readonly<Record<StoredType, number>> = { BF16: 2, F16: 2, F32: 4 };

/** Floats of all float16 numbers by their bits: a lookup is several times faster than taking bits apart. */
let halves: Uint32Array | null = null;

function halfTable(): Uint32Array {
  if (halves) return halves;
  halves = new Uint32Array(65536);
  const single = new Float32Array(1);
  const bits = new Uint32Array(single.buffer);
  for (let half = 0; half < 65536; half++) {
    const [exponent, fraction] = [(half >> 10) & 31, half & 1023];
    if (exponent === 31) bits[0] = 0x7f800000 | (fraction << 13);
    // Below the least normal number are multiples of 2^-24.
    else single[0] = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
    halves[half] = bits[0]! | ((half & 0x8000) << 16);
  }
  return halves;
}

/**
 * Writes all of them to the beginning of `to`, exactly.
 * @param bytes at any offset of their buffer.
 */
export function writeStored(bytes: Uint8Array, stored: StoredType, to: Float32Array): void {
  const width = STORED_BYTES[stored];
  const aligned = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  const count = bytes.byteLength / width;
  if (stored === 'F32') {
    to.set(new Float32Array(aligned.buffer, aligned.byteOffset, count));
    return;
  }
  const from = new Uint16Array(aligned.buffer, aligned.byteOffset, count);
  // By bits, as a signalling NaN would come out quiet by its value.
  const words = new Uint32Array(to.buffer, to.byteOffset, count);
  if (stored === 'BF16') for (let n = 0; n < count; n++) words[n] = from[n]! << 16;
  else {
    const table = halfTable();
    for (let n = 0; n < count; n++) words[n] = table[from[n]!]!;
  }
}
