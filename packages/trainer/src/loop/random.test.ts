import { describe, expect, it } from 'vitest';
import { seedFrom, shuffledOrder } from './random.js';

describe('seedFrom()', () => {
  it('gives 31 bits that differ by every part and by their order', () => {
    const seeds = new Set<number>();
    for (let a = 0; a < 30; a++) for (let b = 0; b < 30; b++) seeds.add(seedFrom(42, a, b));
    expect(seeds.size).toBe(900);
    for (const seed of seeds) expect(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31).toBe(true);
    expect(seedFrom(1, 2)).not.toBe(seedFrom(2, 1));
    expect(seedFrom(2 ** 40)).not.toBe(seedFrom(0));
  });
});

describe('shuffledOrder()', () => {
  it('puts each item at each place about equally often', () => {
    const counts = Array.from({ length: 4 }, () => [0, 0, 0, 0]);
    for (let epoch = 0; epoch < 2000; epoch++) {
      shuffledOrder(4, 7, epoch).forEach((item, place) => {
        counts[item]![place]!++;
      });
    }
    for (const count of counts.flat()) expect(Math.abs(count - 500)).toBeLessThan(100);
  });
});
