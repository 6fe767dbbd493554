/**
 * @file Half-precision formats to float32 and back. Bytes are little-endian, as the format wants and as every machine that Node or a
 * browser runs on is.
 */

/** float32 bits of all 65,536 half-precision values: a table lookup is several times faster than taking bits apart. */
let halfTable: Uint32Array | undefined;

function halfBitsToFloatBits(half: number): number {
  const sign = (half & 0x8000) << 16;
  const exponent = (half >> 10) & 0x1f;
  let mantissa = half & 0x3ff;
  if (exponent === 0x1f) return sign | 0x7f800000 | (mantissa << 13);
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (mantissa << 13);
  if (mantissa === 0) return sign;
  // Subnormal: shift up until the hidden bit appears.
  let shift = 0;
  while ((mantissa & 0x400) === 0) {
    mantissa <<= 1;
    shift++;
  }
  return sign | ((113 - shift) << 23) | ((mantissa & 0x3ff) << 13);
}

/** Exact. */
export function float16ToFloat32(source: Uint16Array, target: Float32Array): void {
  if (!halfTable) {
    halfTable = new Uint32Array(65536);
    for (let half = 0; half < 65536; half++) halfTable[half] = halfBitsToFloatBits(half);
  }
  // Through the bits, not the values: a signalling NaN would come out quiet.
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = halfTable[source[i]!]!;
}

/** Exact. */
export function bfloat16ToFloat32(source: Uint16Array, target: Float32Array): void {
  const bits = new Uint32Array(target.buffer, target.byteOffset, target.length);
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16;
}

/** Rounds to the nearest, ties to even, as PyTorch does; NaN stays NaN. */
export function float32ToBfloat16(source: Float32Array): Uint16Array {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  const target = new Uint16Array(source.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    if ((b & 0x7fffffff) > 0x7f800000) target[i] = (b >>> 16) | 0x40;
    else target[i] = (b + 0x7fff + ((b >>> 16) & 1)) >>> 16;
  }
  return target;
}

/** Rounds to the nearest, ties to even, as PyTorch does; beyond 65,504 infinity; NaN stays NaN. */
export function float32ToFloat16(source: Float32Array): Uint16Array {
  const bits = new Uint32Array(source.buffer, source.byteOffset, source.length);
  const target = new Uint16Array(source.length);
  for (let i = 0; i < bits.length; i++) {
    const b = bits[i]!;
    const sign = (b >>> 16) & 0x8000;
    const magnitude = b & 0x7fffffff;
    if (magnitude > 0x7f800000) target[i] = sign | 0x7e00;
    else if (magnitude >= 0x477ff000)
      target[i] = sign | 0x7c00; // 65,520 and more round to infinity
    else if (magnitude >= 0x38800000) {
      // Normal in half precision: drop 13 bits, moving the exponent's bias from 127 to 15. A carry goes on into the exponent, rightly.
      const rounded = magnitude - 0x38000000;
      target[i] = sign | ((rounded + 0xfff + ((rounded >>> 13) & 1)) >>> 13);
    } else {
      // Subnormal: a multiple of 2^-24, exact in double precision before it is rounded.
      const scaled = Math.abs(source[i]!) * 2 ** 24;
      const floor = Math.floor(scaled);
      const rest = scaled - floor;
      target[i] = sign | (rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor);
    }
  }
  return target;
}
