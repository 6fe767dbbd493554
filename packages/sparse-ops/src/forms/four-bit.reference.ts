/** @file Matrices in codes of 4 bits in plain loops: the oracle of what packs, unpacks and multiplies them. Codes and scales are those of bitsandbytes on the CPU. */
import type { FourBitType, Packed4bitAttributes } from '../contract/layers.js';
import { CODE_BOOKS, CODE_ORDERS, DYNAMIC_MAP } from './code-books.js';
import { roundingTo } from './rounding.js';

const f = Math.fround;

/** Arrays of a matrix in codes, by the names of the kernels' inputs. */
export interface PackedArrays {
  readonly codes: ArrayLike<number>;
  readonly map: ArrayLike<number>;
  readonly absmax?: ArrayLike<number>;
  readonly absmaxCodes?: ArrayLike<number>;
  readonly nestedAbsmax?: ArrayLike<number>;
  readonly nestedMap?: ArrayLike<number>;
}

/** Codes and scales of x, whose size is a multiple of `blockSize`. */
export function quantise4bitReference(
  x: ArrayLike<number>,
  type: FourBitType,
  blockSize: number,
): { codes: Uint8Array; absmax: Float32Array } {
  const { codes: order, bounds } = CODE_ORDERS[type];
  const absmax = Float32Array.from({ length: x.length / blockSize }, (_, b) =>
    Math.max(...Array.from({ length: blockSize }, (_, n) => Math.abs(x[b * blockSize + n]!))),
  );
  const codeOf = (n: number): number => {
    const inverse = f(1 / Math.max(absmax[Math.floor(n / blockSize)]!, f(1e-38)));
    const scaled = Math.min(1, Math.max(-1, f(x[n]! * inverse)));
    const place = bounds.findIndex((bound) => scaled <= bound);
    return order[place < 0 ? bounds.length : place]!;
  };
  const codes = Uint8Array.from({ length: x.length / 2 }, (_, k) => (codeOf(2 * k) << 4) | codeOf(2 * k + 1));
  return { codes, absmax };
}

/**
 * Double quantisation. bitsandbytes on the CPU finds codes by a table of 65,536 steps from −1 to 1, so this does.
 * @param offset by default the scales' mean, which bitsandbytes adds up in float32 in an order that depends on the machine: a unit in the last place may differ.
 */
export function quantiseScalesReference(
  absmax: Float32Array,
  offset?: number,
  blockSize = 256,
): { codes: Uint8Array; absmax: Float32Array; offset: number } {
  const mean = f(offset ?? absmax.reduce((sum, x) => sum + x, 0) / absmax.length);
  const rest = absmax.map((x) => x - mean);
  const scales = Float32Array.from({ length: Math.ceil(rest.length / blockSize) }, (_, b) =>
    Math.max(...rest.subarray(b * blockSize, (b + 1) * blockSize).map(Math.abs)),
  );
  const steps = 65535;
  const codeOf = (value: number): number => {
    const step = Math.trunc(f(f(f(f(value + 1) * 0.5) * steps) + 0.5));
    const at = f(-1 + f(f(2 * step) / steps));
    let code = 0;
    while (code < 255 && f(0.5 * f(DYNAMIC_MAP[code]! + DYNAMIC_MAP[code + 1]!)) < at) code++;
    return code;
  };
  const codes = Uint8Array.from(rest, (x, n) => {
    const scale = scales[Math.floor(n / blockSize)]!;
    if (scale === 0) return 0;
    return codeOf(Math.min(1, Math.max(-1, f(x * f(1 / scale)))));
  });
  return { codes, absmax: scales, offset: mean };
}

/** The scale of block b. */
function scaleOf(m: PackedArrays, { offset, nestedBlockSize }: Packed4bitAttributes, b: number): number {
  if (!m.absmaxCodes) return m.absmax![b]!;
  return f(f(m.nestedMap![m.absmaxCodes[b]!]! * m.nestedAbsmax![Math.floor(b / nestedBlockSize)]!) + offset);
}

/** All numbers [out, in]. */
export function unpack4bitReference(m: PackedArrays, attributes: Packed4bitAttributes): Float32Array {
  const { out, in: inputs, blockSize, dtype } = attributes;
  const round = roundingTo(dtype);
  return Float32Array.from({ length: out * inputs }, (_, n) => {
    const byte = m.codes[n >> 1]!;
    const code = n % 2 === 0 ? byte >> 4 : byte & 15;
    return round(f(m.map[code]! * scaleOf(m, attributes, Math.floor(n / blockSize))));
  });
}

/** The book of a type as an array, for cases. */
export const bookOf = (type: FourBitType): number[] => [...CODE_BOOKS[type]];
