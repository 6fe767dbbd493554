import { createConnection, createServer } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import type { DistributedError } from '../errors.js';
import type { Membership, Peer } from './handshake.js';
import { Door } from './rendezvous.js';
import { Star, type StarOptions } from './star.js';

const open: Star[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((star) => star.close()));
});

const peer = (rank: number): Peer => ({ rank, host: 'here', pid: 100 + rank, localRank: rank });

interface Asked {
  readonly size: number;
  readonly patience?: number;
  /** By rank. */
  readonly options?: readonly StarOptions[];
  /** What a rank believes instead. */
  readonly but?: Readonly<Record<number, Partial<Membership> & { readonly rank?: number }>>;
}

/** The ranks of a run, or why they did not meet. */
async function meet({ size, patience = 5000, options, but = {} }: Asked): Promise<PromiseSettledResult<Star>[]> {
  const door = await Door.open('127.0.0.1', 0, true);
  const usual: Membership = { size, runId: 'run', token: 'secret' };
  const ranks = Array.from({ length: size }, (_, rank) => {
    const membership = { ...usual, ...but[rank] };
    if (rank === 0) return Star.receive(door, peer(0), membership, patience, options?.[0]);
    const place = { ...membership, addresses: ['127.0.0.1'], port: door.port, patience };
    return Star.join(place, peer(but[rank]?.rank ?? rank), options?.[rank]);
  });
  const met = await Promise.allSettled(ranks);
  open.push(...met.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : [])));
  return met;
}

async function stars(size: number, options?: readonly StarOptions[]): Promise<Star[]> {
  return (await meet({ size, options })).map((one) => {
    if (one.status === 'rejected') throw one.reason;
    return one.value;
  });
}

const ended = (star: Star): Promise<DistributedError> => new Promise((resolve) => star.onEnd(resolve));

describe('Star', () => {
  it('sums, gathers, broadcasts and waits as ranks of one process do', async () => {
    const ranks = await stars(3);
    const values = [1, 2 ** -25, 2 ** -25];
    const sums = await Promise.all(ranks.map((rank, n) => rank.call('float32', Float32Array.of(values[n]!, n))));
    for (const sum of sums) expect(sum).toEqual(Float32Array.of(1, 3));
    const doubles = await Promise.all(ranks.map((rank, n) => rank.call('float64', Float64Array.of(values[n]!))));
    for (const sum of doubles) expect(sum).toEqual(Float64Array.of(1 + 2 ** -24));
    const gathered = await Promise.all(ranks.map((rank, n) => rank.call('allGather', new Uint8Array(n).fill(n))));
    for (const all of gathered) expect((all as Uint8Array[]).map((part) => [...part])).toEqual([[], [1], [2, 2]]);
    const told = await Promise.all(ranks.map((rank, n) => rank.call('broadcast 2', n === 2 ? Uint8Array.of(7) : null)));
    for (const bytes of told) expect([...(bytes as Uint8Array)]).toEqual([7]);
    await Promise.all(ranks.map((rank) => rank.call('barrier', null)));
    expect(ranks[1]!.peers.map(({ pid }) => pid)).toEqual([100, 101, 102]);
  });

  it('carries arrays of megabytes, several on the way at once', async () => {
    const ranks = await stars(2);
    const arrays = ranks.map((_, n) => [0, 1, 2].map((k) => new Float32Array(700_001).fill(n + k)));
    const sums = await Promise.all(ranks.flatMap((rank, n) => arrays[n]!.map((array) => rank.call('float32', array))));
    sums.forEach((sum, n) => {
      expect((sum as Float32Array).length).toBe(700_001);
      expect((sum as Float32Array).every((x) => x === 1 + 2 * (n % 3))).toBe(true);
    });
  });

  it('tells everybody by name of a rank whose connection breaks, and gives up what they wait for', async () => {
    const ranks = await stars(3);
    const waiting = [0, 1].map((n) => ranks[n]!.call('barrier', null));
    const heard = [0, 1].map((n) => ended(ranks[n]!));
    ranks[2]!.abandon();
    for (const error of await Promise.all(heard))
      expect(error.message).toMatch(/^rank 2 \(process 102 on here\) has ended/);
    for (const one of waiting) await expect(one).rejects.toThrow('rank 2');
  });

  it('tells everybody that rank 0 is gone', async () => {
    const ranks = await stars(3);
    const heard = [1, 2].map((n) => ended(ranks[n]!));
    ranks[0]!.abandon();
    for (const error of await Promise.all(heard))
      expect(error.message).toMatch(/^rank 0 \(process 100 on here\) has ended/);
  });

  it('counts a rank as gone that is not heard of', async () => {
    // The second one gives no sign of life.
    const [first] = await stars(2, [
      { beat: 20, silence: 300 },
      { beat: 1e6, silence: 1e6 },
    ]);
    const heard = ended(first!);
    expect((await heard).message).toMatch(/^rank 1 \(process 101 on here\) has not been heard of/);
  });

  it('says on every rank why one failed', async () => {
    const ranks = await stars(3);
    const heard = [0, 2].map((n) => ended(ranks[n]!));
    await ranks[1]!.fail('the disk is full');
    for (const error of await Promise.all(heard)) {
      expect(error).toMatchObject({ reason: 'failed', message: 'rank 1 (process 101 on here): the disk is full' });
    }
  });

  it('lets ranks leave one after the other, but not while others wait for them', async () => {
    const ranks = await stars(3);
    await ranks[2]!.close();
    await new Promise((resolve) => setTimeout(resolve, 50));
    const heard = ended(ranks[1]!);
    await expect(ranks[0]!.call('barrier', null)).rejects.toThrow(
      'rank 2 (process 102 on here) left while others wait',
    );
    expect((await heard).reason).toBe('lost');
  });

  it('refuses, on all ranks, operations that do not fit together', async () => {
    const [first, second] = await stars(2);
    const calls = await Promise.allSettled([
      first!.call('barrier', null),
      second!.call('allGather', new Uint8Array(1)),
    ]);
    for (const call of calls)
      expect(String((call as PromiseRejectedResult).reason)).toMatch(/ranks must call the same/);
    const [third, fourth] = await stars(2);
    const sums = await Promise.allSettled(
      [third!, fourth!].map((rank, n) => rank.call('float32', new Float32Array(n + 1))),
    );
    for (const sum of sums) expect(String((sum as PromiseRejectedResult).reason)).toMatch(/all-reduce: rank/);
  });
});

describe('the rendezvous', () => {
  const reasons = (met: PromiseSettledResult<Star>[]) =>
    met.map((one) => (one.status === 'rejected' ? (one.reason as Error).message : 'met'));

  it('refuses a rank with another token, and tells rank 0 in the end', async () => {
    const [zero, one] = reasons(await meet({ size: 2, patience: 500, but: { 1: { token: 'guess' } } }));
    expect(one).toMatch(/does not know the token of this run \(SPFT_TOKEN\)/);
    expect(zero).toMatch(/rank 1 of 2 did not come within 0.5 s; 1 were refused/);
  });

  it('refuses a rank without the token, one of another world size, of another run, and one that has come already', async () => {
    const without = reasons(await meet({ size: 2, patience: 300, but: { 1: { token: null } } }));
    expect(without[1]).toMatch('SPFT_TOKEN is set for rank 0 only');
    const larger = reasons(await meet({ size: 2, patience: 300, but: { 1: { size: 3 } } }));
    expect(larger[1]).toMatch("its world size is 3, rank 0's is 2");
    const other = reasons(await meet({ size: 2, patience: 300, but: { 1: { runId: 'restarted' } } }));
    expect(other[1]).toMatch('it is of the run "restarted", rank 0 of "run"');
    const twice = reasons(await meet({ size: 3, patience: 300, but: { 2: { rank: 1 } } }));
    expect(
      twice.filter((reason) => /^rank 0 refuses rank 1: rank 1 has come already, as process/.test(reason)),
    ).toHaveLength(1);
  });

  it('is not disturbed by strangers, and closes its door when all have come', async () => {
    const door = await Door.open('127.0.0.1', 0, true);
    const membership = { size: 2, runId: 'run', token: null };
    const receiving = Star.receive(door, peer(0), membership, 5000);
    const stranger = createConnection({ host: '127.0.0.1', port: door.port });
    stranger.on('error', () => {});
    stranger.write('GET / HTTP/1.1\r\n\r\n');
    const closed = new Promise((resolve) => stranger.on('close', resolve));
    await closed;
    const place = { ...membership, addresses: ['127.0.0.1'], port: door.port, patience: 5000 };
    open.push(await Star.join(place, peer(1)), await receiving);
    const late = createConnection({ host: '127.0.0.1', port: door.port });
    await expect(new Promise((_, reject) => late.on('error', reject))).rejects.toThrow('ECONNREFUSED');
  });

  it('refuses a port that is in use, by its number, and names what to set', async () => {
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve));
    const { port } = other.address() as { port: number };
    await expect(Door.open('127.0.0.1', port, true)).rejects.toThrow(
      new RegExp(
        `^port ${port} of 127.0.0.1, where the ranks are to meet, is in use: give all ranks a free one as SPFT_PORT`,
      ),
    );
    other.close();
  });

  it('says where nobody answers', async () => {
    const place = { size: 2, runId: '', token: null, addresses: ['127.0.0.1'], port: 1, patience: 300 };
    await expect(Star.join(place, peer(1))).rejects.toThrow(
      'rank 1 did not reach rank 0 at port 1 of 127.0.0.1 within 0.3 s',
    );
  });
});
