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

/** The same for little-endian bytes as a file has them: an exponent with all bits set. @throws ModelError */
export function requireFiniteStored(name: string, bytes: Uint8Array, stored: StoredType): void {
  const width = stored === 'F32' ? 4 : 2;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >>> 2);
  const high = stored === 'F16' ? 0x7c000000 : stored === 'BF16' || stored === 'F32' ? 0x7f800000 : 0;
  const low = width === 2 ? high >>> 16 : 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if ((word & high) === high) refuse(name, width === 4 ? i : 2 * i + 1);
    if (low !== 0 && (word & low) === low) refuse(name, 2 * i);
  }
  if (width === 2 && aligned.byteLength % 4 === 2) {
    const at = aligned.byteLength - 2;
    const last = aligned[at]! | (aligned[at + 1]! << 8);
    if ((last & low) === low) refuse(name, at / 2);
  }
}
