import { afterEach, describe, expect, it, vi } from 'vitest';
import { ASSEMBLY } from '../assembly.generated.js';
import { withSharedMemory } from '../shared-memory.js';
import { ThreadsError } from './errors.js';
import { inScratch, type PoolOptions, ThreadPool } from './pool.js';

const module = new WebAssembly.Module(withSharedMemory(Buffer.from(ASSEMBLY, 'base64')));
const NAMES = ['swiglu', 'transpose'] as const;
type Name = (typeof NAMES)[number];

const pools: ThreadPool<Name>[] = [];
afterEach(() => {
  for (const pool of pools.splice(0)) pool.dispose();
});

function newPool(options: Partial<PoolOptions<Name>> = {}) {
  const memory = new WebAssembly.Memory({ initial: 16, maximum: 16, shared: true });
  const kernels = new WebAssembly.Instance(module, { env: { memory } }).exports as never;
  const pool = new ThreadPool<Name>({
    ...{ module, memory, kernels, names: NAMES, threads: 2, allocate: () => 4096, free: () => {} },
    ...options,
  });
  pools.push(pool);
  return { pool, numbers: new Float32Array(memory.buffer) };
}

/** Numbers from `place` on become 1, 2, …, and those from `to` on twice that, by silu(x)·up with a gate so large that silu is the gate. */
const DOUBLE = { gate: 40_000, up: 60_000, y: 80_000 };
function writeDoubling(numbers: Float32Array, count: number) {
  for (let i = 0; i < count; i++) numbers.set([64], DOUBLE.gate + i);
  for (let i = 0; i < count; i++) numbers.set([(i + 1) / 32], DOUBLE.up + i);
}
const callDoubling = (pool: ThreadPool<Name>, i: number) =>
  pool.call('swiglu', 4 * (DOUBLE.gate + i), 4 * (DOUBLE.up + i), 4 * (DOUBLE.y + i), 1);

describe('ThreadPool', () => {
  it.each([1, 2, 3])('runs each chunk once, whoever takes it: %i threads', (threads) => {
    const { pool, numbers } = newPool({ threads });
    const count = 5000;
    writeDoubling(numbers, count);
    for (let round = 0; round < 5; round++) {
      numbers.fill(0, DOUBLE.y, DOUBLE.y + count);
      for (let i = 0; i < count; i++) {
        callDoubling(pool, i);
        pool.endChunk();
      }
      pool.run();
      expect(numbers[DOUBLE.y]).toBe(2);
      expect(Array.from(numbers.subarray(DOUBLE.y, DOUBLE.y + count)).every((y, i) => y === 2 * (i + 1))).toBe(true);
    }
  });

  it('gives each thread scratch of its own', () => {
    const { pool, numbers } = newPool({ threads: 3, allocate: () => 4096 });
    pool.reserve(640);
    writeDoubling(numbers, 160);
    for (let chunk = 0; chunk < 400; chunk++) {
      // Into scratch and from there, so that who used another's would find the other's numbers.
      const from = 4 * (DOUBLE.up + (chunk % 20) * 8);
      pool.call('transpose', from, inScratch(0), 2, 4, 1);
      pool.call('transpose', inScratch(0), 4 * (DOUBLE.y + chunk * 8), 4, 2, 1);
      pool.endChunk();
    }
    pool.run();
    for (let chunk = 0; chunk < 400; chunk++) {
      const from = DOUBLE.up + (chunk % 20) * 8;
      expect(numbers.slice(DOUBLE.y + chunk * 8, DOUBLE.y + chunk * 8 + 8)).toEqual(numbers.slice(from, from + 8));
    }
  });

  it('says so where there is no room for scratch, and goes on', () => {
    const { pool, numbers } = newPool({ allocate: () => 0 });
    expect(() => pool.reserve(64)).toThrow('no room for 128 bytes of scratch');
    writeDoubling(numbers, 1);
    callDoubling(pool, 0);
    pool.endChunk();
    pool.run();
    expect(numbers[DOUBLE.y]).toBe(2);
  });

  it('throws where a kernel does, on whichever thread, and goes on with the next job', () => {
    const { pool, numbers } = newPool();
    writeDoubling(numbers, 100);
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 100; i++) {
        if (i % 2) callDoubling(pool, i);
        else pool.call('swiglu', 2 ** 30, 2 ** 30, 2 ** 30, 4);
        pool.endChunk();
      }
      expect(() => pool.run()).toThrow('internal: a kernel failed');
      numbers.fill(0, DOUBLE.y, DOUBLE.y + 100);
      callDoubling(pool, 7);
      pool.endChunk();
      pool.run();
      expect(numbers[DOUBLE.y + 7]).toBe(16);
    }
  });

  it('forgets what was written of a job that was given up', () => {
    const { pool, numbers } = newPool();
    writeDoubling(numbers, 2);
    callDoubling(pool, 0);
    pool.endChunk();
    callDoubling(pool, 1);
    pool.forget();
    pool.run();
    expect(numbers[DOUBLE.y]).toBe(0);
  });

  it('does all of the work itself where no other thread can be started, and says so', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const { pool, numbers } = newPool({ first: "throw new Error('not today')" });
    writeDoubling(numbers, 50);
    for (let i = 0; i < 50; i++) {
      callDoubling(pool, i);
      pool.endChunk();
    }
    pool.run();
    expect(numbers[DOUBLE.y + 49]).toBe(100);
    await vi.waitFor(() => expect(warn).toHaveBeenCalledWith('wasm: thread 1 of 2 ended: not today'));
    warn.mockRestore();
  });

  it('gives up a thread that ended with work in hand, then and from then on', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    // Takes a chunk and ends, as one whose heap is full would.
    const first = `
      for (;;) {
        const seen = Atomics.load(options.tickets, 0);
        if ((seen & 0xffffn) > 0n && Atomics.compareExchange(options.tickets, 0, seen, seen - 1n) === seen) throw new Error('gone');
      }`;
    const { pool, numbers } = newPool({ first, waits: 2 });
    writeDoubling(numbers, 1);
    const job = () => {
      for (let i = 0; i < 4000; i++) {
        callDoubling(pool, 0);
        pool.endChunk();
      }
      pool.run();
    };
    // The thread takes its time to start; all goes well until then.
    expect(() => {
      for (const until = Date.now() + 60_000; Date.now() < until; ) job();
    }).toThrow(ThreadsError);
    expect(job).toThrow(/ended, or is stuck.*start the program again/s);
    await vi.waitFor(() => expect(warn).toHaveBeenCalledWith('wasm: thread 1 of 2 ended: gone'));
    warn.mockRestore();
  }, 120_000);
});
