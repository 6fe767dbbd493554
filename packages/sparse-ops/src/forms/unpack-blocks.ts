/** @file Codes of 4 bits to numbers in loops over host memory: what kernels of `cpu` and `wasm` and reading a packed tensor share. */
import type { Packed4bitAttributes } from '../contract/layers.js';
import { roundingTo } from './rounding.js';

const f = Math.fround;

/** Arrays of a matrix in codes, by the names of the kernels' inputs. */
export interface PackedViews {
  readonly codes: Uint8Array;
  readonly map: Float32Array;
  readonly absmax?: Float32Array;
  readonly absmaxCodes?: Uint8Array;
  readonly nestedAbsmax?: Float32Array;
  readonly nestedMap?: Float32Array;
}

/** The scale of block b. */
export function scaleOf(m: PackedViews, { offset, nestedBlockSize }: Packed4bitAttributes, b: number): number {
  if (!m.absmaxCodes) return m.absmax![b]!;
  return f(f(m.nestedMap![m.absmaxCodes[b]!]! * m.nestedAbsmax![Math.floor(b / nestedBlockSize)]!) + offset);
}

/** The scales of `blocks` blocks from `first` on, to `to` from `at` on. */
export function writeScales(
  m: PackedViews,
  attributes: Packed4bitAttributes,
  first: number,
  blocks: number,
  to: Float32Array,
  at: number,
): void {
  for (let b = 0; b < blocks; b++) to[at + b] = scaleOf(m, attributes, first + b);
}

/** Rounds what was written as floats. */
export function roundInPlace(values: Float32Array, { dtype }: Packed4bitAttributes): void {
  if (dtype === 'F32') return;
  const round = roundingTo(dtype);
  for (let n = 0; n < values.length; n++) values[n] = round(values[n]!);
}

/** The number at place n of [out·in]. */
export function numberAt(m: PackedViews, attributes: Packed4bitAttributes, n: number): number {
  const byte = m.codes[n >> 1]!;
  const scale = scaleOf(m, attributes, Math.floor(n / attributes.blockSize));
  return roundingTo(attributes.dtype)(f(m.map[n & 1 ? byte & 15 : byte >> 4]! * scale));
}

/** All numbers [out·in]. */
export function unpackAll(m: PackedViews, attributes: Packed4bitAttributes): Float32Array {
  const values = new Float32Array(attributes.out * attributes.in);
  unpackBlocks(m, attributes, 0, values.length / attributes.blockSize, values, 0);
  return values;
}

/** Writes `blocks` blocks, from the one numbered `first` on, to `to` from `at` on. */
export function unpackBlocks(
  m: PackedViews,
  attributes: Packed4bitAttributes,
  first: number,
  blocks: number,
  to: Float32Array,
  at: number,
): void {
  const { blockSize, dtype } = attributes;
  const { codes, map } = m;
  const bytes = blockSize / 2;
  let place = at;
  for (let b = first; b < first + blocks; b++) {
    const scale = scaleOf(m, attributes, b);
    for (let n = b * bytes, end = n + bytes; n < end; n++) {
      const code = codes[n]!;
      to[place++] = map[code >> 4]! * scale;
      to[place++] = map[code & 15]! * scale;
    }
  }
  if (dtype === 'F32') return;
  const round = roundingTo(dtype);
  for (let n = at; n < place; n++) to[n] = round(to[n]!);
}
