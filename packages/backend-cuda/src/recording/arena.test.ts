/** @file The arena: no two places overlap, all comes back together, and what a trace is said to need is enough. */
import { describe, expect, it } from 'vitest';
import { Arena, bytesMissing, type Space } from './arena.js';

/** A step's requests: sizes of all kinds, freed in another order. */
function trace(seed: number): number[] {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const entries: number[] = [];
  const live: number[] = [];
  let made = 0;
  for (let n = 0; n < 600; n++) {
    if (live.length > 0 && random() < 0.48) entries.push(-1 - live.splice(Math.floor(random() * live.length), 1)[0]!);
    else {
      entries.push(1 + Math.floor(random() ** 4 * 200_000));
      live.push(made++);
    }
  }
  return [...entries, ...live.map((k) => -1 - k)];
}

/** Runs a trace; null where something had no room. */
function run(entries: readonly number[], arena: Arena): true | null {
  const places: [number, number][] = [];
  const live = new Map<number, number>();
  for (const entry of entries) {
    if (entry < 0) {
      arena.free(places[-1 - entry]![0]);
      live.delete(places[-1 - entry]![0]);
      continue;
    }
    const address = arena.allocate(entry);
    if (address === null) return null;
    for (const [at, bytes] of live) expect(address + entry <= at || at + bytes <= address).toBe(true);
    live.set(address, entry);
    places.push([address, entry]);
  }
  return true;
}

describe('Arena', () => {
  it('has room for a step where bytesMissing() said, wherever the spaces lie, and for others in the same spaces', () => {
    let spaces: Space[] = [];
    let next = 10_000_000;
    for (const seed of [3, 1, 2, 5, 4]) {
      const entries = trace(seed);
      const missing = bytesMissing(entries, spaces);
      // Each new space lies before the others and touches the last one.
      next -= missing;
      if (missing > 0) spaces = [...spaces, { address: next, bytes: missing }];
      const arena = new Arena(spaces);
      expect(run(entries, arena)).toBe(true);
      expect(arena.live).toBe(0);
      expect(bytesMissing(entries, spaces)).toBe(0);
      // All is together again.
      for (const { bytes } of [...spaces].sort((a, b) => b.bytes - a.bytes))
        expect(arena.allocate(bytes)).not.toBeNull();
      expect(arena.allocate(1)).toBeNull();
    }
    const peak = Math.max(...[3, 1, 2, 5, 4].map((seed) => bytesMissing(trace(seed), [])));
    expect(spaces.reduce((sum, { bytes }) => sum + bytes, 0)).toBeLessThan(1.3 * peak);
  });

  it('wants hardly more than it must have', () => {
    // 19.1 MB by growing a hundredth at a time until a step has room, 18.4 by halves back from there.
    const wanted = [1, 2, 3, 4, 5, 6, 7, 8].map((seed) => bytesMissing(trace(seed), []));
    expect(wanted.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(18.6e6);
    for (const [n, bytes] of wanted.entries()) {
      expect(run(trace(n + 1), new Arena([{ address: 512, bytes }]))).toBe(true);
    }
  });

  it('refuses to free what is not its own', () => {
    const arena = new Arena([{ address: 4096, bytes: 4096 }]);
    expect(arena.allocate(5000)).toBeNull();
    expect(() => arena.free(4096)).toThrow(/nothing of the arena is at 4096/);
    expect(() => arena.free(1)).toThrow(/nothing of the arena is at 1/);
  });
});
