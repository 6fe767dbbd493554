/** @file Hopper's products of warpgroups on the emulator, and what of their use is a mistake. */
import { describe, expect, it } from 'vitest';
import { bf16Bits, cuda, describeEmulator, failing, HEADERS, numbers, run, small } from './describe-emulator.js';

/** Tiles as descriptors see them, and a product of a [64, 32] and b [32, COLUMNS], both given by rows, that is added to 100. */
const PRODUCT = `#include "spft.cuh"
  #define INNER 32
  // Number (x, k) of an operand: rows of 128 bytes along the inner dimension, or along the other one, 64 of it a panel.
  template <int LIES> __device__ u8* at(u8* tile, int x, int k) {
    const int row = LIES ? k : x, column = LIES ? x % 64 : k;
    return tile + (LIES ? x / 64 * (INNER * 128) : 0) + row * 128 + (((column / 8) ^ row) & 7) * 16 + column % 8 * 2;
  }
  __device__ u64 descriptor(const u8* tile) {
    return (u64)(ptx_shared_address(tile) >> 4) | (u64)(INNER * 128 / 16) << 16 | (u64)(1024 / 16) << 32 | (u64)1 << 62;
  }
  template <int LIES> __device__ u64 step(int k) { return k * (LIES ? 2048 / 16 : 32 / 16); }
  extern "C" __global__ void product(const bf16* a, const bf16* b, float* d) {
    __shared__ __align__(1024) u8 a_tile[64 * 128], b_tile[128 * 128];
    const int t = threadIdx.x, warp = t / 32, lane = t % 32;
    for (int i = t; i < 64 * INNER; i += 128) *(bf16*)at<TA>(a_tile, i / INNER, i % INNER) = a[i];
    for (int i = t; i < INNER * COLUMNS; i += 128) *(bf16*)at<TB>(b_tile, i % COLUMNS + FIRST, i / COLUMNS) = b[i];
    ptx_fence_shared_for_wgmma();
    __syncthreads();
    float sums[COLUMNS / 8][4];
    for (int n = 0; n < COLUMNS / 8; n++) for (int e = 0; e < 4; e++) sums[n][e] = 100;
    ptx_wgmma_fence();
    const u64 right = descriptor(TB ? b_tile + 2 * FIRST : b_tile + 128 * FIRST);
    for (int k = 0; k < INNER / 16; k++) {
#if REGISTERS
      static_assert(!TA, "registers have one layout");
      static u32 parts[128][INNER / 16][4];
      u32 (&part)[4] = parts[t][k];
      for (int r = 0; r < 4; r++) {
        const int row = warp * 16 + lane / 4 + r % 2 * 8, column = k * 16 + lane % 4 * 2 + r / 2 * 8;
        part[r] = *(const u32*)at<0>(a_tile, row, column);
      }
      ptx_wgmma<TB>(sums, part, right + step<TB>(k), 1);
#else
      ptx_wgmma<TB, TA>(sums, descriptor(a_tile) + step<TA>(k), right + step<TB>(k), 1);
#endif
    }
    ptx_wgmma_commit();
    ptx_wgmma_wait<0>();
    for (int n = 0; n < COLUMNS / 8; n++)
      for (int e = 0; e < 4; e++) d[(warp * 16 + lane / 4 + e / 2 * 8) * COLUMNS + n * 8 + lane % 4 * 2 + e % 2] = sums[n][e];
  }`;

/** Before the body of a kernel of 128 threads: tiles of zeros that are fenced, descriptors of them, and an accumulator. */
const SET_UP = `__shared__ __align__(1024) u8 tiles[2][8192];
  for (int i = t; i < 4096; i += 128) ((u32*)tiles)[i] = 0;
  ptx_fence_shared_for_wgmma();
  __syncthreads();
  const u64 a = (u64)(ptx_shared_address(tiles[0]) >> 4) | (u64)64 << 32 | (u64)1 << 62, b = a + 8192 / 16;
  float d[8][4] = {};\n`;
const fails = (body: string, threads = 128) => failing(SET_UP + body, threads);
const DONE = 'ptx_wgmma_commit();\nptx_wgmma_wait<0>();';
const FENCED = `ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b, 1);\n${DONE}`;

describeEmulator('products of warpgroups on the emulator', () => {
  const a = (m: number, k: number) => small(32 * m + k);
  const b = (k: number, n: number) => small(31 * k + 5 * n);
  it.each([
    // Columns, a transposed, b transposed, a in registers, first of its columns in the tile
    [32, 0, 0, 0, 0],
    [32, 1, 1, 0, 0],
    [32, 0, 1, 0, 32],
    [32, 0, 0, 0, 8],
    [64, 0, 0, 0, 0],
    [64, 0, 1, 0, 0],
    [64, 1, 0, 0, 0],
    [64, 1, 1, 0, 0],
    [64, 0, 0, 1, 0],
    [64, 0, 1, 1, 0],
    [128, 0, 0, 0, 0],
    [128, 1, 1, 0, 0],
    [128, 0, 0, 1, 0],
    [128, 0, 1, 1, 0],
  ])(
    'have %i columns, with a transposed: %i, b transposed: %i, a in registers: %i, from column %i on',
    (N, TA, TB, R, F) => {
      const defines = Object.entries({ COLUMNS: N, TA, TB, REGISTERS: R, FIRST: F }).map(
        ([name, value]) => `-D${name}=${value}`,
      );
      const kernel = cuda.kernel('product', PRODUCT, [HEADERS, ...defines]);
      const bits = (count: number, of: (i: number) => number) =>
        cuda.upload(Uint16Array.from({ length: count }, (_, i) => bf16Bits(of(i))));
      const want = numbers(64 * N, (i) => {
        let sum = 100;
        for (let k = 0; k < 32; k++) sum += a(Math.floor(i / N), k) * b(k, i % N);
        return sum;
      });
      for (const when of ['', 'late']) {
        process.env.SPFT_EMULATOR_PRODUCTS = when;
        const out = cuda.allocate(4 * 64 * N);
        const args = [
          bits(64 * 32, (i) => a(Math.floor(i / 32), i % 32)),
          bits(32 * N, (i) => b(Math.floor(i / N), i % N)),
        ];
        expect(cuda.launch(kernel, { block: [128] }, [...args, out])).toBe(0);
        expect(cuda.floats(out, 64 * N)).toEqual(want);
      }
    },
  );

  it('keep accumulators until they are waited for, and leave NaN where these were', () => {
    const out = run(
      `${SET_UP}d[0][0] = 5;
       ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b, 1);
       const float early = d[0][0];
       ptx_wgmma_commit();
       float other[8][4] = {}; other[0][0] = 7;
       ptx_wgmma_fence(); ptx_wgmma<0>(other, a, b, 0); ptx_wgmma_commit();
       ptx_wgmma_wait<1>();
       const float first = d[0][0], second = other[0][0];
       ptx_wgmma_wait<0>();
       if (t == 0) out[0] = early, out[1] = first, out[2] = second, out[3] = other[0][0];`,
      128,
      4,
    );
    expect(out).toEqual(Float32Array.of(Number.NaN, 5, Number.NaN, 0));
  });

  it('read shared memory when they start or, if asked to, when they are waited for', () => {
    const body = `${SET_UP}const u64 ones = 0x3f803f803f803f80;
      for (int i = t; i < 1024; i += 128) ((u64*)tiles[0])[i] = ones, ((u64*)tiles[1])[i] = ones;
      ptx_fence_shared_for_wgmma(); __syncthreads();
      ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b, 0); ptx_wgmma_commit();
      for (int i = t; i < 1024; i += 128) ((u64*)tiles[1])[i] = 0;
      ptx_fence_shared_for_wgmma(); __syncthreads();
      ptx_wgmma_wait<0>();
      if (t == 0) out[0] = d[0][0];`;
    expect(run(body, 128, 1)).toEqual(Float32Array.of(16));
    process.env.SPFT_EMULATOR_PRODUCTS = 'late';
    expect(run(body, 128, 1)).toEqual(Float32Array.of(0));
  });

  describe('of mistakes', () => {
    it('find none in what is right', () => expect(fails(FENCED)).toBe(0));

    it.each([
      ['no fence before registers are brought', `ptx_wgmma<0>(d, a, b, 1);\n${DONE}`, 719],
      ['none after a wait', `${FENCED} ptx_wgmma<0>(d, a, b, 1);\n${DONE}`, 719],
      ['an operand outside of the block', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b + 8192 / 16, 1);\n${DONE}`, 700],
      ['a tile that begins within a pattern', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a + 128 / 16, b, 1);\n${DONE}`, 719],
      ['rows that go beyond 128 bytes', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a + 112 / 16, b, 1);\n${DONE}`, 719],
      ['another swizzle', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b & ~((u64)3 << 62), 1);\n${DONE}`, 719],
      ['a base offset', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b | (u64)1 << 49, 1);\n${DONE}`, 719],
      ['a stride that is no pattern', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b + ((u64)1 << 32), 1);\n${DONE}`, 719],
      ['different descriptors', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a, t < 32 ? b : a, 1);\n${DONE}`, 719],
      ['one word or the other on adding', `ptx_wgmma_fence(); ptx_wgmma<0>(d, a, b, t < 32);\n${DONE}`, 719],
      ['a product that a warp leaves out', `ptx_wgmma_fence(); if (t >= 32) ptx_wgmma<0>(d, a, b, 1);\n${DONE}`, 719],
      ['two commits', `if (t < 32) ptx_wgmma_commit(); else\nptx_wgmma_commit();`, 719],
      ['a warp that has gone', `if (t < 32) return;\n${FENCED}`, 719],
      ['a warp elsewhere', `if (t < 32) __syncthreads(); else ptx_wgmma_commit();`, 719],
    ])('find %s', (_, body, status) => {
      expect(fails(body)).toBe(status);
    });

    it('find a warpgroup that is not whole', () => expect(failing('ptx_wgmma_commit();', 96)).toBe(719));

    it.each([
      [
        'copies',
        '',
        'ptx_copy_async_16(ptx_shared_address(tiles[1]) + 16 * t, out); ptx_copy_async_commit(); ptx_copy_async_wait<0>();',
      ],
      ['stores, if asked to', '1', '((u32*)tiles[1])[t] = 0;'],
      ['vectors of them', '1', '((Words4*)tiles[1])[t] = Words4{};'],
    ])('find %s without a proxy fence', (_, proxy, write) => {
      process.env.SPFT_EMULATOR_PROXY = proxy;
      expect(fails(`${write} __syncthreads(); ${FENCED}`)).toBe(719);
      cuda.ok('cuDevicePrimaryCtxReset_v2', 0);
      expect(fails(`${write} ptx_fence_shared_for_wgmma(); __syncthreads(); ${FENCED}`)).toBe(0);
      // That of another thread is of no use.
      expect(
        fails(`${write} __syncthreads(); if (t > 0) ptx_fence_shared_for_wgmma(); __syncthreads(); ${FENCED}`),
      ).toBe(719);
    });
  });
});
