/** @file Codes of 4 bits to numbers: sixteen at a time, by looking up the four bytes of each float in a table of their own. */
import { lanes } from './vector';

/** Bytes `b` of the sixteen floats at `map`. */
@inline
function plane0(a: v128, b: v128, c: v128, d: v128): v128 {
  const low = v128.shuffle<u8>(a, b, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
  const high = v128.shuffle<u8>(c, d, 0, 4, 8, 12, 16, 20, 24, 28, 0, 0, 0, 0, 0, 0, 0, 0);
  return v128.shuffle<u8>(low, high, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23);
}

/**
 * Rows [from, to) of y [rows, columns].
 * @param codes a row's codes after another's, the first of two in the high nibble. @param map of sixteen floats. @param scales of blocks, likewise.
 */
export function unpack4bit(
  from: i32,
  to: i32,
  codes: usize,
  map: usize,
  scales: usize,
  y: usize,
  columns: i32,
  blockSize: i32,
): void {
  const a = v128.load(map);
  const b = v128.load(map, 16);
  const c = v128.load(map, 32);
  const d = v128.load(map, 48);
  const first = plane0(a, b, c, d);
  const second = plane0(v128.shr<u32>(a, 8), v128.shr<u32>(b, 8), v128.shr<u32>(c, 8), v128.shr<u32>(d, 8));
  const third = plane0(v128.shr<u32>(a, 16), v128.shr<u32>(b, 16), v128.shr<u32>(c, 16), v128.shr<u32>(d, 16));
  const fourth = plane0(v128.shr<u32>(a, 24), v128.shr<u32>(b, 24), v128.shr<u32>(c, 24), v128.shr<u32>(d, 24));
  const blocks = columns / blockSize;
  const bytes = <usize>blockSize >> 1;
  let code = codes + <usize>from * <usize>blocks * bytes;
  let at = y + ((<usize>from * <usize>columns) << 2);
  const last = scales + ((<usize>to * <usize>blocks) << 2);
  for (let scale = scales + ((<usize>from * <usize>blocks) << 2); scale < last; scale += 4) {
    const factor = lanes(load<f32>(scale));
    for (const end = code + bytes; code < end; code += 8) {
      const raw = v128.load64_zero(code);
      const high = v128.shr<u8>(raw, 4);
      const low = v128.and(raw, i8x16.splat(15));
      const index = v128.shuffle<u8>(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const p = v128.swizzle(first, index);
      const q = v128.swizzle(second, index);
      const r = v128.swizzle(third, index);
      const s = v128.swizzle(fourth, index);
      const lowPQ = v128.shuffle<u8>(p, q, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const highPQ = v128.shuffle<u8>(p, q, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      const lowRS = v128.shuffle<u8>(r, s, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
      const highRS = v128.shuffle<u8>(r, s, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
      v128.store(at, f32x4.mul(v128.shuffle<u16>(lowPQ, lowRS, 0, 8, 1, 9, 2, 10, 3, 11), factor));
      v128.store(at, f32x4.mul(v128.shuffle<u16>(lowPQ, lowRS, 4, 12, 5, 13, 6, 14, 7, 15), factor), 16);
      v128.store(at, f32x4.mul(v128.shuffle<u16>(highPQ, highRS, 0, 8, 1, 9, 2, 10, 3, 11), factor), 32);
      v128.store(at, f32x4.mul(v128.shuffle<u16>(highPQ, highRS, 4, 12, 5, 13, 6, 14, 7, 15), factor), 48);
      at += 64;
    }
  }
}

/** Rows [from, to) of y [rows, kept]: the columns that `indices` names. */
export function unpack4bitColumns(
  from: i32,
  to: i32,
  codes: usize,
  map: usize,
  scales: usize,
  indices: usize,
  y: usize,
  columns: i32,
  kept: i32,
  blockShift: i32,
): void {
  const end = <usize>kept << 2;
  for (let row = from; row < to; row++) {
    const code = codes + ((<usize>row * <usize>columns) >> 1);
    const scale = scales + ((<usize>(row * (columns >> blockShift))) << 2);
    const at = y + <usize>row * end;
    for (let k: usize = 0; k < end; k += 4) {
      const column = load<i32>(indices + k);
      const byte = <usize>load<u8>(code + (<usize>column >> 1));
      const nibble = column & 1 ? byte & 15 : byte >> 4;
      store<f32>(at + k, load<f32>(map + (nibble << 2)) * load<f32>(scale + ((<usize>column >> blockShift) << 2)));
    }
  }
}
