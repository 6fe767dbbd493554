/** @file Copies in bulk out of shared memory on the emulator, and how kernels write there what they copy. */
import { describe, expect, it } from 'vitest';
import { byteAt, COLUMNS, FIRST, launch, ROWS, STRIDE } from './cluster-kernel.js';
import { cuda, describeEmulator, numbers } from './describe-emulator.js';

/** What copies out may read: a tile of numbers that all threads have written, and fenced. */
const WRITTEN = `for (int i = t; i < 512; i += 128) ptx_store_shared(tile + 4 * i, 0x01010101 * (i / 32 + 16 * block));
  ptx_fence_shared_for_wgmma();
  ptx_cluster_meet();\n`;
const OUT = 'if (t == 0) { ptx_copy_box_out(&map, 0, 0, tile); ptx_copies_out_commit(); ptx_copies_out_wait<0>(); }';

describeEmulator('copies out of shared memory on the emulator', () => {
  it('copy boxes out of shared memory to what lies within the matrix', () => {
    // Of the first block the last columns and rows; of the second the first ones, two boxes above one another.
    const { status, bytes } = launch(
      `${WRITTEN}if (t == 0) {
         if (block == 0) ptx_copy_box_out(&map, x, y, tile);
         if (block == 1) ptx_copy_box_out(&map, -32, -3, tile), ptx_copy_box_out(&map, -32, 5, tile + 1024);
         ptx_copies_out_commit();
         ptx_copies_out_wait<0>();
       }`,
      1,
    );
    expect(status).toBe(0);
    const want = numbers(ROWS * STRIDE, (i) => {
      const [row, column] = [Math.floor(i / STRIDE), i % STRIDE];
      if (row >= 15 && column >= 96 && column < COLUMNS) return row - 15;
      return row < 13 && column < 96 ? 16 + row + 3 : byteAt(row, column);
    });
    expect(Float32Array.from(bytes!)).toEqual(want);
  });

  it('let a tile be written again when so many groups of copies out of it were waited for', () => {
    const body = (groups: number) => `${WRITTEN}if (t == 0 && block == 0) {
      for (int i = 0; i < 4; i++) {
        ptx_copies_out_wait<${groups}>();
        for (int word = 0; word < 256; word++) ptx_store_shared(tile + i % 2 * 1024 + 4 * word, 0x01010101 * (200 + i));
        ptx_fence_shared_for_wgmma();
        ptx_copy_box_out(&map, 32 * i, 0, tile + i % 2 * 1024);
        ptx_copies_out_commit();
      }
      ptx_copies_out_wait<0>();
    }`;
    const { status, bytes } = launch(body(1), 1);
    expect(status).toBe(0);
    expect([0, 31, 32, 64, 96, 159].map((column) => bytes![column])).toEqual([200, 200, 201, 202, 203, 203]);
    expect(launch(body(2), 1).status).toBe(719);
  });

  it('store matrices as they load them', () => {
    const { out } = launch(
      `u32 words[4];
       for (int i = 0; i < 4; i++) words[i] = (8 * (t & 31) + 2 * i + 1) << 16 | (8 * (t & 31) + 2 * i);
       if (t < 32) ptx_stmatrix_x4(tile + 16 * t, words);
       ptx_cluster_meet();
       if (t < 128 && block == 0) {
         const u32 word = ptx_load_shared(tile + 4 * t);
         out[2 * t] = word & 0xffff, out[2 * t + 1] = word >> 16;
       }`,
      256,
    );
    // Register `matrix` of lane 4 · row + column / 2.
    const want = numbers(256, (i) => {
      const [matrix, row, column] = [i >> 6, (i >> 3) & 7, i & 7];
      return 8 * (4 * row + (column >> 1)) + 2 * matrix + (column & 1);
    });
    expect(out).toEqual(want);
  });

  describe('find as a mistake', () => {
    it.each([
      [
        'a map that the driver has not made',
        `${FIRST} { TensorMap none = {}; ptx_copy_box_out(&none, 0, 0, tile); }`,
        719,
      ],
      ['a tile that begins within a pattern', `${FIRST} ptx_copy_box_out(&map, 0, 0, tile + 128);`, 716],
      ['a tile outside of shared memory', `${FIRST} ptx_copy_box_out(&map, 0, 0, tile + 4096);`, 700],
      ['no commit', `${FIRST} { ptx_copy_box_out(&map, 0, 0, tile); ptx_copies_out_wait<0>(); }`, 719],
      ['no wait', `${FIRST} { ptx_copy_box_out(&map, 0, 0, tile); ptx_copies_out_commit(); }`, 719],
      [
        'a wait of another thread',
        `${FIRST} { ptx_copy_box_out(&map, 0, 0, tile); ptx_copies_out_commit(); }
         ptx_cluster_meet();
         if (t == 1) ptx_copies_out_wait<0>();`,
        719,
      ],
      [
        'a tile that another thread writes too early',
        `if (t == 0) { ptx_copy_box_out(&map, 0, 0, tile); ptx_copies_out_commit(); }
         ptx_cluster_meet();
         if (t == 1) { ptx_store_shared(tile, 77); ptx_fence_shared_for_wgmma(); }
         ptx_cluster_meet();
         if (t == 0) ptx_copies_out_wait<0>();`,
        719,
      ],
      [
        'a tile to which is copied too early',
        `${FIRST} { ptx_copy_box_out(&map, 0, 0, tile); ptx_barrier_expect(full, 1024); ptx_copy_box(tile, &map, 0, 8, full);
           ptx_copies_out_commit(); ptx_copies_out_wait<0>(); ptx_barrier_wait(full, 0); }`,
        719,
      ],
      ['a word that is not aligned', 'ptx_store_shared(tile + 2, 1);', 716],
      ['a word outside of shared memory', 'ptx_store_shared(tile + 8192, 1);', 700],
      ['rows of matrices that are not aligned', 'const u32 words[4] = {}; ptx_stmatrix_x4(tile + 8, words);', 716],
      ['matrices that lanes do not store', 'const u32 words[4] = {}; if (t & 1) ptx_stmatrix_x4(tile, words);', 719],
    ])('%s', (_, body, status) => {
      expect(launch(WRITTEN + body, 1).status).toBe(status);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
    });

    it.each([
      ['words', '', 'ptx_store_shared(tile + 4 * t, t);'],
      ['matrices', '', 'const u32 words[4] = {}; if (t < 32) ptx_stmatrix_x4(tile + 16 * t, words);'],
      ['plain stores, if asked to', '1', 'shared[tile - begin + t] = 3;'],
    ])('copies out of what %s have written without a proxy fence', (_, proxy, write) => {
      process.env.SPFT_EMULATOR_PROXY = proxy;
      const after = (fence: string) => launch(`${WRITTEN}${write} ${fence} ptx_cluster_meet(); ${OUT}`, 1).status;
      expect(after('ptx_fence_shared_for_wgmma();')).toBe(0);
      expect(after('')).toBe(719);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
      // That of another thread is of no use.
      expect(after('ptx_cluster_meet(); if (t != 5) ptx_fence_shared_for_wgmma();')).toBe(719);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
      // What lies outside of the matrix is not read.
      expect(launch(`${WRITTEN}${write} ptx_cluster_meet(); ${OUT.replace('0, 0', '0, 20')}`, 1).status).toBe(0);
    });
  });
});
