/**
 * @file Seeds from seeds. Everything random is named by a path of integers (run seed, step, micro-batch, layer, part), so there is no
 * generator state to save, and recomputing a layer in the backward pass repeats its choices.
 */

/** A 32-bit seed for a place below `seed`; different paths give unrelated seeds (murmur3's finalizer after each part). */
export function deriveSeed(seed: number, ...path: readonly number[]): number {
  let state = seed | 0;
  for (const part of path) {
    state = Math.imul(state ^ (part + 0x9e3779b9), 0x85ebca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
    state ^= state >>> 16;
  }
  return state >>> 0;
}
