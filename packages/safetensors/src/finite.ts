/**
 * @file Values that are NaN or infinite: where the first of them stands. Packages that read or write tensors refuse such values with words of their own;
 * how they are found is the same for all.
 */

/** Index of the first value that is NaN or infinite; -1 where there is none. */
export function firstNonFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) {
    // x − x is 0 for every finite x.
    if (values[i]! - values[i]! !== 0) return i;
  }
  return -1;
}

/** Exponents' bits of a word, of both halves where an element has 16 bits, and the lowest of them. */
const MASKS = {
  BF16: [0x7f807f80, 0x00800080],
  F16: [0x7c007c00, 0x04000400],
  F32: [0x7f800000, 0x00800000],
} as const;
const BLOCK = 4096;

/** The same for little-endian bytes as a file has them: an exponent with all bits set. */
export function firstNonFiniteStored(bytes: Uint8Array, stored: keyof typeof MASKS): number {
  const width = stored === 'F32' ? 4 : 2;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >>> 2);
  // One added to an exponent whose bits are all set carries into the sign's place, which the mask has cleared: no branch for every word.
  const [mask, one] = MASKS[stored];
  const signs = width === 2 ? 0x80008000 : 0x80000000;
  for (let start = 0; start < words.length; start += BLOCK) {
    const end = Math.min(words.length, start + BLOCK);
    let carries = 0;
    for (let i = start; i < end; i++) carries |= (words[i]! & mask) + one;
    const at = (carries & signs) === 0 ? -1 : find(words, start, mask, width);
    if (at >= 0) return at;
  }
  const low = mask & 0xffff;
  if (width === 2 && aligned.byteLength % 4 === 2) {
    const at = aligned.byteLength - 2;
    const last = aligned[at]! | (aligned[at + 1]! << 8);
    if ((last & low) === low) return at / 2;
  }
  return -1;
}

/** The first element from word `start` on whose exponent is all ones. */
function find(words: Uint32Array, start: number, mask: number, width: number): number {
  const [high, low] = width === 2 ? [mask & 0xffff0000, mask & 0xffff] : [mask, 0];
  for (let i = start; i < words.length; i++) {
    if (low !== 0 && (words[i]! & low) === low) return 2 * i;
    if ((words[i]! & high) === high) return width === 4 ? i : 2 * i + 1;
  }
  return -1;
}
