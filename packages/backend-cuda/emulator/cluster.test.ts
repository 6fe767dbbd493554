/** @file Clusters of blocks on the emulator, and the copies in bulk that they share. */
import { describe, expect, it } from 'vitest';
import { FIRST, inside, launch, mapOf } from './cluster-kernel.js';
import { cuda, describeEmulator, numbers } from './describe-emulator.js';

describeEmulator('clusters on the emulator', () => {
  it('copy boxes to one block and to both, with zeros outside of the matrix, not before they are waited for', () => {
    const { status, out } = launch(
      `if (t == 0) {
         ptx_barrier_expect(full, 2048);
         ptx_copy_box(tile, &map, x + 16 * block, y, full);
         if (block == 1) ptx_copy_box_to_all(tile + 1024, &map, 0, 3, full, 3);
       }
       out[block * 128 + t] = read(t);
       ptx_barrier_wait(full, 0);
       for (int i = t; i < 2048; i += 128) out[256 + block * 2048 + i] = read(i);`,
      256 + 2 * 2048,
    );
    expect(status).toBe(0);
    expect(out).toEqual(
      numbers(256 + 2 * 2048, (i) => {
        if (i < 256) return 255;
        const [block, row, column] = [Math.floor((i - 256) / 2048), Math.floor(((i - 256) % 2048) / 128), i % 128];
        return row < 8 ? inside(15 + row, 96 + 16 * block + column) : inside(3 + row - 8, column);
      }),
    );
  });

  it('run cluster after cluster, and blocks of one tell each other', () => {
    const { status, out } = launch(
      `if (t == 0) ptx_barrier_arrive_in(full, 1 - block);
       if (t == 1) { ptx_barrier_wait(full, 0); out[blockIdx.x] = 1 + blockIdx.x; }`,
      6,
      [0, 0],
      6,
    );
    expect([status, ...out!]).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('have named barriers of each block', () => {
    // The first block's second warp comes late: when the other block is through its barrier of the same number.
    const { status, out } = launch(
      `if (block == 0 && t >= 32 && t < 64) ptx_barrier_wait(full, 0);
       if (t < 64) {
         shared[tile - begin + t] = 64 * block + t;
         ptx_named_barrier(1, 64);
         out[64 * block + t] = shared[tile - begin + (t ^ 63)];
         if (block == 1 && t == 0) ptx_barrier_arrive_in(full, 0);
       }`,
      128,
    );
    expect(status).toBe(0);
    expect(out).toEqual(numbers(128, (i) => i ^ 63));
  });

  it('take maps of one kind', () => {
    expect(mapOf().status).toBe(0);
    expect(mapOf({ swizzle: 2 }).status).toBe(1);
    expect(mapOf({ stride: 168 }).status).toBe(1);
  });

  describe('find as a mistake', () => {
    it.each([
      [
        'a map that the driver has not made',
        `${FIRST} { TensorMap none = {}; ptx_copy_box(tile, &none, 0, 0, full); }`,
        719,
      ],
      ['a tile that begins within a pattern', `${FIRST} ptx_copy_box(tile + 128, &map, 0, 0, full);`, 716],
      ['a tile outside of shared memory', `${FIRST} ptx_copy_box(tile + 4096, &map, 0, 0, full);`, 700],
      ['a barrier outside of it', `${FIRST} ptx_copy_box(tile, &map, 0, 0, full + 8192);`, 700],
      ['a block that the cluster has not', `${FIRST} ptx_copy_box_to_all(tile, &map, 0, 0, full, 7);`, 719],
      ['a barrier of such a block', `${FIRST} ptx_barrier_arrive_in(full, 2);`, 700],
      [
        'a wait for more bytes than come',
        `${FIRST} { ptx_barrier_expect(full, 2048); ptx_copy_box(tile, &map, 0, 0, full); ptx_barrier_wait(full, 0); }`,
        719,
      ],
      [
        'more arrivals than a phase has while its bytes come',
        `${FIRST} { ptx_barrier_expect(full, 1024); ptx_barrier_arrive_in(full, 0); }`,
        719,
      ],
      ["a block that does not come to the cluster's barrier", 'if (block == 0) return;', 719],
      ['a named barrier of a block for more threads than it has', 'ptx_named_barrier(1, 256);', 719],
      ['__syncthreads, which is not emulated in one', '__syncthreads();', 719],
    ])('%s', (_, body, status) => {
      expect(launch(body, 1).status).toBe(status);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
    });

    it('a grid that is not of whole clusters', () => expect(launch('', 1, [0, 0], 3).status).toBe(1));
  });
});
