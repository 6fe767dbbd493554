/** @file Weights that are NaN or infinite: with one of them every output is NaN, so such a file is refused by name before anything runs. */
import { firstNonFinite, firstNonFiniteStored } from '@spft/safetensors';
import type { StoredType } from '@spft/sparse-ops';
import { ModelError } from './errors.js';

function refuseAt(name: string, index: number): void {
  if (index < 0) return;
  throw new ModelError(
    `'${name}': element ${index} is NaN or infinite; a model with such weights computes nothing but NaN: download it again, or use another checkpoint`,
  );
}

/** @throws ModelError */
export function requireFinite(name: string, values: Float32Array): void {
  refuseAt(name, firstNonFinite(values));
}

/** The same for little-endian bytes as a file has them. @param first the number of the first of these elements. @throws ModelError */
export function requireFiniteStored(name: string, bytes: Uint8Array, stored: StoredType, first = 0): void {
  const index = firstNonFiniteStored(bytes, stored);
  refuseAt(name, index < 0 ? -1 : first + index);
}
