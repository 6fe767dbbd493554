/** @file Floats rounded to the types that checkpoints have weights in, on the host: to the nearest, ties to even. */
import type { StoredType } from '../contract/layers.js';

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

function toBf16(x: number): number {
  single[0] = x;
  const word = bits[0]!;
  // Not a number stays so: a carry would make it infinite or zero.
  if ((word & 0x7f800000) === 0x7f800000) return single[0]!;
  bits[0] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000;
  return single[0]!;
}

function toF16(x: number): number {
  const size = Math.abs(x);
  if (!(size < 65520)) return Number.isNaN(x) ? x : Math.sign(x) * Number.POSITIVE_INFINITY;
  single[0] = size;
  // Ten bits behind the leading one, but no step below 2^-24. To add and take away 1.5·2^52 steps rounds to whole ones.
  const exponent = Math.max((bits[0]! >>> 23) - 127, -14);
  const far = 1.5 * 2 ** (52 + exponent - 10);
  const rounded = size + far - far;
  return x < 0 || Object.is(x, -0) ? -rounded : rounded;
}

const ROUNDINGS: Readonly<Record<StoredType, (x: number) => number>> = { F32: Math.fround, BF16: toBf16, F16: toF16 };

/** What a number becomes in that type. */
export const roundingTo = (dtype: StoredType): ((x: number) => number) => ROUNDINGS[dtype];
