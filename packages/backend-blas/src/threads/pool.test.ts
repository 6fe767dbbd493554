/**
 * @file The threads at work, without a BLAS: each chunk of many small jobs is run once, and a thread's end is an error. `SPFT_TEST_JOBS=10000000` runs so
 * many jobs, where the default is few.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Block } from '../memory/allocator.js';
import { Heap } from '../memory/heap.js';
import { CONTROL } from './interpreter.js';
import { POOL_BYTES, Pool, type PoolOptions } from './pool.js';

const JOBS = Number(process.env.SPFT_TEST_JOBS ?? 3000);

const pools: Pool[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.dispose();
});

function poolOf(options: Partial<PoolOptions> = {}): { heap: Heap; pool: Pool; ones: Block; sums: Block } {
  const heap = new Heap({ reserved: POOL_BYTES });
  const blas = { sgemm: () => {}, declaration: null };
  const pool = new Pool({ heap, blas, threads: 4, base: 0, ...options });
  pools.push(pool);
  const [ones, sums] = [heap.allocate(64)!, heap.allocate(4096)!];
  heap.f32(ones.address, 16).fill(1);
  heap.f32(sums.address, 1024).fill(0);
  return { heap, pool, ones, sums };
}

/** A chunk that adds 1 to the number at `place` of `sums`. */
function count(pool: Pool, ones: Block, sums: Block, place: number): void {
  pool.call('accumulate', ones.address, sums.address + 4 * place, 1, 1);
  pool.endChunk();
}

describe('Pool', () => {
  it(`runs each chunk of ${JOBS} jobs once`, { timeout: 60_000 + JOBS }, () => {
    const { heap, pool, ones, sums } = poolOf();
    const totals = heap.f32(sums.address, 16);
    const expected = new Float64Array(16);
    for (let job = 0; job < JOBS; job++) {
      // Of different numbers of chunks, as a ticket of one job is the more wrong in another.
      const chunks = 2 + (job % 7);
      for (let chunk = 0; chunk < chunks; chunk++) count(pool, ones, sums, chunk);
      pool.run();
      for (let chunk = 0; chunk < chunks; chunk++) expected[chunk]!++;
      for (let chunk = 0; chunk < 9; chunk++) {
        if (totals[chunk] !== expected[chunk])
          throw new Error(`job ${job}, chunk ${chunk}: ${totals[chunk]} for ${expected[chunk]}`);
      }
    }
    expect([...totals]).toEqual([...expected]);
  });

  it('runs one chunk and no chunk', () => {
    const { heap, pool, ones, sums } = poolOf();
    pool.run();
    count(pool, ones, sums, 0);
    pool.run();
    expect(heap.f32(sums.address, 1)[0]).toBe(1);
  });

  it('does not run what was written of a job that was given up', () => {
    const { heap, pool, ones, sums } = poolOf();
    count(pool, ones, sums, 0);
    pool.call('accumulate', ones.address, sums.address, 1, 1);
    pool.forget();
    count(pool, ones, sums, 1);
    count(pool, ones, sums, 2);
    pool.run();
    expect([...heap.f32(sums.address, 3)]).toEqual([0, 1, 1]);
  });

  it('throws when a thread ends at work, at once and from then on, and does not wait for it', () => {
    // A product ends the thread that makes it, and this one's waits until another has begun one.
    let control = new Int32Array(0);
    const seen = () => Atomics.load(new BigInt64Array(control.buffer, 4 * CONTROL.tickets, 1), 0) & 0xffffn;
    const sgemm = () => {
      while (seen() !== 0n) Atomics.wait(control, CONTROL.done, Atomics.load(control, CONTROL.done), 1);
    };
    const { heap, pool } = poolOf({
      blas: { sgemm, declaration: null },
      threads: 2,
      first: 'options.sgemm = () => process.exit(7);',
    });
    control = new Int32Array(heap.memory.buffer, 0, CONTROL.words);
    const job = () => {
      for (let chunk = 0; chunk < 2; chunk++) {
        pool.gemm([false, false], [1, 1, 1], 1, [0, 1], [0, 1], 0, [0, 1]);
        pool.endChunk();
      }
      pool.run();
    };
    expect(job).toThrow(
      /^backend blas: thread 1 ended at work \(exit 7\); .* start the program again, from its last checkpoint$/,
    );
    expect(job).toThrow(/thread 1 ended at work/);
  });

  it('goes on with fewer threads where one cannot start, and says so', async () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {});
    const { heap, pool, ones, sums } = poolOf({
      threads: 3,
      first: 'if (thread === 2) throw new Error("no such file");',
    });
    for (let job = 0; job < 50; job++) {
      for (let chunk = 0; chunk < 4; chunk++) count(pool, ones, sums, chunk);
      pool.run();
    }
    expect([...heap.f32(sums.address, 4)]).toEqual([50, 50, 50, 50]);
    await vi.waitFor(() => expect(warn).toHaveBeenCalledWith('backend blas: thread 2 ended: no such file'), 20_000);
    warn.mockRestore();
  });
});
