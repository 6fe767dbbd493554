/** @file Clusters of blocks on the emulator, and the copies in bulk that they share. */
import { describe, expect, it } from 'vitest';
import { cuda, describeEmulator, HEADERS, int, numbers } from './describe-emulator.js';

const [ROWS, COLUMNS, STRIDE] = [20, 160, 176];
const byteAt = (row: number, column: number) => (row * 31 + column * 7) % 251;
const inside = (row: number, column: number) => (row < ROWS && column < COLUMNS ? byteAt(row, column) : 0);

/** A map of the matrix in boxes of eight rows; in memory that stays. */
function mapOf({ swizzle = 3, stride = STRIDE } = {}): { status: number; at: bigint } {
  const matrix = new Uint8Array(ROWS * STRIDE).map((_, i) => byteAt(Math.floor(i / STRIDE), i % STRIDE));
  const { address } = cuda.pinned(32);
  const [sizes, strides] = [BigUint64Array.of(BigInt(COLUMNS), BigInt(ROWS)), BigUint64Array.of(BigInt(stride))];
  const [box, steps] = [Uint32Array.of(128, 8), Uint32Array.of(1, 1)];
  const args = [address, 0, 2, cuda.upload(matrix), sizes, strides, box, steps, 0, swizzle, 3, 0] as const;
  return { status: cuda.call('cuTensorMapEncodeTiled', ...args), at: address };
}

/** A kernel of clusters of two blocks, each with two tiles of 1024 bytes and two barriers of one arrival; `read` gives a tile's byte. */
const kernelOf = (body: string) =>
  cuda.kernel(
    'k',
    `#include "spft.cuh"
     #include "ptx-codes.cuh"
     extern "C" __global__ void __cluster_dims__(2, 1, 1) k(const __grid_constant__ TensorMap map, float* out, int x, int y) {
       SPFT_DYNAMIC_SHARED(u8, shared);
       const int t = threadIdx.x, block = blockIdx.x % 2;
       const u32 begin = ptx_shared_address(shared), tile = (begin + 1023) & ~1023u, full = tile + 2048, other = full + 8;
       auto read = [&](int i) { return (float)shared[tile - begin + (i ^ (i >> 7 & 7) << 4)]; };
       if (t == 0) ptx_barrier_init(full, 1), ptx_barrier_init(other, 1), ptx_fence_barriers();
       ptx_cluster_meet();
       ${body}
       ptx_cluster_meet();
     }`,
    [HEADERS],
  );
function launch(body: string, count: number, [x, y] = [96, 15], grid = 2) {
  const out = cuda.allocate(4 * count);
  const args = [{ at: mapOf().at }, out, int(x), int(y)];
  const status = cuda.launch(kernelOf(body), { grid: [grid], block: [128], shared: 4096 }, args);
  return { status, out: status === 0 ? cuda.floats(out, count) : null };
}

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

  it('take maps of one kind', () => {
    expect(mapOf().status).toBe(0);
    expect(mapOf({ swizzle: 2 }).status).toBe(1);
    expect(mapOf({ stride: 168 }).status).toBe(1);
  });

  describe('find as a mistake', () => {
    const FIRST = 'if (t == 0 && block == 0)';
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
      ['__syncthreads, which is not emulated in one', '__syncthreads();', 719],
    ])('%s', (_, body, status) => {
      expect(launch(body, 1).status).toBe(status);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
    });

    it('a grid that is not of whole clusters', () => expect(launch('', 1, [0, 0], 3).status).toBe(1));
  });
});
