import { describe, expect, it } from 'vitest';
import { localCollectives } from './local.js';

describe('localCollectives()', () => {
  it('sums in the order of ranks, in the precision of the array', async () => {
    const ranks = localCollectives(3);
    // In float32 the order decides: (1 + 2⁻²⁵) + 2⁻²⁵ is 1.
    const values = [1, 2 ** -25, 2 ** -25].map((x) => Float32Array.of(x, 1));
    await Promise.all(ranks.map((rank, n) => rank.allReduce(values[n]!).done));
    for (const sum of values) expect([...sum]).toEqual([1, 3]);

    const doubles = [1, 2 ** -25, 2 ** -25].map((x) => Float64Array.of(x));
    await Promise.all(ranks.map((rank, n) => rank.allReduce(doubles[n]!).done));
    for (const sum of doubles) expect(sum[0]).toBe(1 + 2 ** -24);
  });

  it('gathers bytes of different lengths by rank, as copies', async () => {
    const ranks = localCollectives(3);
    const given = [Uint8Array.of(1), Uint8Array.of(), Uint8Array.of(3, 4)];
    const got = await Promise.all(ranks.map((rank, n) => rank.allGather(given[n]!).done));
    given[0]![0] = 9;
    for (const all of got) expect(all.map((bytes) => [...bytes])).toEqual([[1], [], [3, 4]]);
  });

  it('broadcasts the root’s bytes', async () => {
    const ranks = localCollectives(2);
    const got = await Promise.all(ranks.map((rank, n) => rank.broadcast(n === 1 ? Uint8Array.of(7) : null, 1).done));
    expect(got.map((bytes) => [...bytes])).toEqual([[7], [7]]);
  });

  it('holds everybody at a barrier until the last has come', async () => {
    const [first, second] = localCollectives(2);
    let past = false;
    const waiting = first!.barrier().done.then(() => {
      past = true;
    });
    await new Promise(setImmediate);
    expect(past).toBe(false);
    await Promise.all([waiting, second!.barrier().done]);
    expect(past).toBe(true);
  });

  it('refuses arrays of different lengths, and other operations than the others', async () => {
    const [first, second] = localCollectives(2);
    const sums = await Promise.allSettled([
      first!.allReduce(new Float32Array(2)).done,
      second!.allReduce(new Float32Array(3)).done,
    ]);
    for (const sum of sums)
      expect(String((sum as PromiseRejectedResult).reason)).toMatch(
        /rank 1 gave 3 numbers of 32 bits where others gave 2/,
      );
    const calls = await Promise.allSettled([first!.barrier().done, second!.allGather(new Uint8Array(0)).done]);
    for (const call of calls) {
      expect(String((call as PromiseRejectedResult).reason)).toMatch(
        'rank 1 calls allGather where rank 0 calls barrier',
      );
    }
  });

  it('gives everything up, on all ranks', async () => {
    const [first, second] = localCollectives(2);
    const waiting = first!.barrier();
    second!.abort(new Error('rank 1 is gone'));
    await expect(waiting.done).rejects.toThrow('rank 1 is gone');
    await expect(first!.barrier().done).rejects.toThrow('rank 1 is gone');
  });
});
