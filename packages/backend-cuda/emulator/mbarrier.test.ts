/** @file Barriers in shared memory and named barriers on the emulator: threads of a block that run apart, and what of their use is a mistake. */
import { expect, it } from 'vitest';
import { cuda, describeEmulator, failing, numbers, run } from './describe-emulator.js';

/** Two barriers of one arrival each, before the body of a kernel. */
const TWO = `__shared__ u64 full, empty;
  if (t == 0) ptx_barrier_init(&full, 1), ptx_barrier_init(&empty, 1);
  __syncthreads();\n`;

describeEmulator('barriers for parts of a block on the emulator', () => {
  it.each(['', 'reverse', 'shuffle'])('let one thread give another what it makes, started in order %j', (order) => {
    process.env.SPFT_EMULATOR_ORDER = order;
    const body = (wait: string) => `${TWO}
      __shared__ int box;
      if (t == 0) for (int i = 0; i < 9; i++) {
        ${wait.replace('BARRIER', '&empty').replace('PARITY', '(i & 1) ^ 1')}
        box = i * i;
        ptx_barrier_arrive(&full);
      }
      if (t == 40) for (int i = 0; i < 9; i++) {
        ${wait.replace('BARRIER', '&full').replace('PARITY', 'i & 1')}
        out[i] = box;
        ptx_barrier_arrive(&empty);
      }`;
    const squares = numbers(9, (i) => i * i);
    expect(run(body('ptx_barrier_wait(BARRIER, PARITY);'), 64, 9)).toEqual(squares);
    expect(run(body('while (!ptx_barrier_test(BARRIER, PARITY));'), 64, 9)).toEqual(squares);
  });

  it('count the arrivals of a phase', () => {
    expect(
      run(
        `__shared__ u64 barrier; __shared__ int sum;
         if (t == 0) ptx_barrier_init(&barrier, 63), sum = 0;
         __syncthreads();
         if (t > 0) atomicAdd(&sum, t), ptx_barrier_arrive(&barrier);
         else { const bool early = ptx_barrier_test(&barrier, 0); ptx_barrier_wait(&barrier, 0); out[0] = early; out[1] = sum; }`,
        64,
        2,
      ),
    ).toEqual(Float32Array.of(0, 2016));
  });

  it('have numbers, and so many threads as come there', () => {
    expect(
      run(
        `__shared__ int x[128];
         const int part = t / 64;
         for (int i = 1; i < 4; i++) {
           x[t] = i * t;
           ptx_named_barrier(1 + part, 64);
           if (part == 0 || i == 1) out[t] = x[t ^ 63];
           ptx_named_barrier(1 + part, 64);
         }`,
        128,
        128,
      ),
    ).toEqual(numbers(128, (t) => (t < 64 ? 3 : 1) * (t ^ 63)));
  });

  it.each([
    ['a wait for what nobody does', `${TWO}if (t == 3) ptx_barrier_wait(&full, 0);`, 719],
    ['such a wait in a loop', `${TWO}if (t < 3) while (!ptx_barrier_test(&full, 0));`, 719],
    [
      'waits of two for each other',
      `${TWO}if (t == 0) ptx_barrier_wait(&full, 0), ptx_barrier_arrive(&empty); else if (t == 1) ptx_barrier_wait(&empty, 0), ptx_barrier_arrive(&full);`,
      719,
    ],
    [
      'a phase that goes by unseen',
      `${TWO}if (t == 0) ptx_barrier_wait(&full, 0); if (t == 1) ptx_barrier_arrive(&full), ptx_barrier_arrive(&full);`,
      719,
    ],
    ['one that was not made', '__shared__ u64 barrier; ptx_barrier_arrive(&barrier);', 719],
    ['one that was overwritten', `${TWO}full = 3; ptx_barrier_wait(&full, 0);`, 719],
    ['one of no arrivals', '__shared__ u64 barrier; ptx_barrier_init(&barrier, 0);', 719],
    ['one elsewhere', 'ptx_barrier_init((u64*)out, 1);', 700],
    ['one that is not aligned', '__shared__ u64 barrier[2]; ptx_barrier_init((u64*)((u8*)barrier + 4), 1);', 716],
    ['the number of __syncthreads', 'ptx_named_barrier(0, 64);', 719],
    ['a number too great', 'ptx_named_barrier(16, 64);', 719],
    ['half a warp', 'ptx_named_barrier(1, 48);', 719],
    ['more threads than there are', 'ptx_named_barrier(1, 96);', 719],
    ['two counts of threads', 'ptx_named_barrier(1, t < 32 ? 64 : 32);', 719],
    ['a warp that does not come', 'if (t < 32) ptx_named_barrier(1, 64);', 719],
  ])('find as a mistake: %s', (_, body, status) => {
    expect(failing(body)).toBe(status);
    cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
  });
});
