/** @file Weights that are NaN or infinite: with one of them every output is NaN, so such a file is refused by name before anything runs. */
import type { StoredType } from '@spft/sparse-ops';
import { ModelError } from './errors.js';

function refuse(name: string, index: number): never {
  throw new ModelError(
    `'${name}': element ${index} is NaN or infinite; a model with such weights computes nothing but NaN: download it again, or use another checkpoint`,
  );
}

/** @throws ModelError */
export function requireFinite(name: string, values: Float32Array): void {
  for (let i = 0; i < values.length; i++) {
    // x − x is 0 for every finite x.
    if (values[i]! - values[i]! !== 0) refuse(name, i);
  }
}

/** Exponents' bits of a word, of both halves where an element has 16 bits, and the lowest of them. */
const MASKS: Readonly<Record<StoredType, readonly [mask: number, one: number]>> = {
  BF16: [0x7f807f80, 0x00800080],
  F16: [0x7c007c00, 0x04000400],
  F32: [0x7f800000, 0x00800000],
};
const BLOCK = 4096;

/** Refuses the first element from word `start` on whose exponent is all ones. */
function find(name: string, words: Uint32Array, start: number, mask: number, width: number): void {
  const [high, low] = width === 2 ? [mask & 0xffff0000, mask & 0xffff] : [mask, 0];
  for (let i = start; i < words.length; i++) {
    if (low !== 0 && (words[i]! & low) === low) refuse(name, 2 * i);
    if ((words[i]! & high) === high) refuse(name, width === 4 ? i : 2 * i + 1);
  }
}

/** The same for little-endian bytes as a file has them: an exponent with all bits set. @throws ModelError */
export function requireFiniteStored(name: string, bytes: Uint8Array, stored: StoredType): void {
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
    if ((carries & signs) !== 0) find(name, words, start, mask, width);
  }
  const low = mask & 0xffff;
  if (width === 2 && aligned.byteLength % 4 === 2) {
    const at = aligned.byteLength - 2;
    const last = aligned[at]! | (aligned[at + 1]! << 8);
    if ((last & low) === low) refuse(name, at / 2);
  }
}
