/**
 * @file Seeds and orders. Everything random derives from integers that are known at any step (run seed, epoch, step, micro-batch), so a
 * resumed run needs no generator state to continue as if it had not stopped.
 */
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

/** A 31-bit seed that depends on every part and on their order (the mixing of MurmurHash3). */
export function seedFrom(...parts: readonly number[]): number {
  let h = 0x9747b28c | 0;
  for (const part of parts) {
    // High and low words, so that seeds above 2³² count in full.
    for (const word of [part | 0, Math.floor(part / 2 ** 32) | 0]) {
      let k = Math.imul(word, 0xcc9e2d51);
      k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
      h ^= k;
      h = (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
    }
  }
  h ^= parts.length;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) & 0x7fffffff;
}

/** The whole numbers below `count` in the order of one epoch (Fisher and Yates). */
export function shuffledOrder(count: number, seed: number, epoch: number): Int32Array {
  const order = Int32Array.from({ length: count }, (_, i) => i);
  const generator = xoroshiro128plus(seedFrom(seed, epoch));
  for (let i = count - 1; i > 0; i--) {
    const j = uniformInt(generator, 0, i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
