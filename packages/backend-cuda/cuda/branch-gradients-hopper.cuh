// `branch_gradients` on Hopper, of ranks up to 32: the sums of branch-gradients.cu by products of warpgroups.
//
// One thread copies tiles of 64 rows and 512 columns of a dy, in boxes of 64 columns, and those rows of h, two tiles ahead. One warpgroup makes the rows of dh
// from a tile, the other two a half each of dB, so that a block has one part of dh for all its columns. Boxes of h and of B have 64 columns too, as their
// swizzle wants it: beyond the rank these are zeros, which are not multiplied.
#include "ptx-codes.cuh"

#define STAGES 2
#define BOX 64
#define BOX_BYTES (BOX * 128)
#define PANELS (COLUMNS / BOX)
#define STAGE_BYTES ((PANELS + 1) * BOX_BYTES)
#define PIECES (PANELS / 2)  // of 64 columns of dB that a warpgroup has

// As packed-attention-hopper.cuh's: start, distance of boxes (of which a product touches one), distance of eight rows, 128-byte swizzle.
__device__ __forceinline__ u64 descriptor(u32 tile) {
  return (u64)((tile & 0x3ffff) >> 4) | (u64)(BOX_BYTES / 16) << 16 | (u64)(1024 / 16) << 32 | (u64)1 << 62;
}

template <int N> __device__ __forceinline__ void keep(float (&acc)[N][4]) {
#pragma unroll
  for (int i = 0; i < 4 * N; i++) ptx_keep(acc[i / 4][i % 4]);
}

// This thread's numbers of 64 rows, of which a warp has sixteen, those below `rows` alone.
__device__ __forceinline__ void store_rows(float* to, const float (&acc)[RANK / 8][4], int rows) {
  const int lane = threadIdx.x & 31, first = threadIdx.x / 32 % 4 * 16 + (lane >> 2);
#pragma unroll
  for (int n = 0; n < RANK / 8; n++) {
#pragma unroll
    for (int below = 0; below < 2; below++) {
      const int row = first + 8 * below;
      if (row < rows) *(Floats2*)(to + row * RANK + 8 * n + 2 * (lane & 3)) = Floats2{acc[n][2 * below], acc[n][2 * below + 1]};
    }
  }
}

// Parts as of the kernel for other GPUs; `count` is a multiple of 64.
extern "C" __global__ void __launch_bounds__(416, 1)
branch_gradients(const __grid_constant__ TensorMap dy0, const __grid_constant__ TensorMap dy1, const __grid_constant__ TensorMap dy2,
                 const __grid_constant__ TensorMap b0, const __grid_constant__ TensorMap b1, const __grid_constant__ TensorMap b2,
                 const __grid_constant__ TensorMap h0, const __grid_constant__ TensorMap h1, const __grid_constant__ TensorMap h2, float* dh_parts,
                 float* db_parts, int rows, int count, int out0, int out1) {
  SPFT_DYNAMIC_SHARED(u8, shared);
  const u32 begin = (ptx_shared_address(shared) + 1023) & ~1023u, b_tile = begin + STAGES * STAGE_BYTES;
  const u32 full = b_tile + PANELS * BOX_BYTES, empty = full + 8 * STAGES, b_full = empty + 8 * STAGES;
  const int first = blockIdx.y * count, end = min(rows, first + count), warpgroup = threadIdx.x / 128;
  if (threadIdx.x == 0) {
    for (int i = 0; i < STAGES; i++) {
      ptx_barrier_init(full + 8 * i, 1);
      ptx_barrier_init(empty + 8 * i, 12);  // warps
    }
    ptx_barrier_init(b_full, 1);
    ptx_fence_barriers();
  }
  __syncthreads();

  int stage = 0;
  u32 parity = 0;
  const auto advance = [&]() {
    if (++stage == STAGES) stage = 0, parity ^= 1;
  };
  // All of this warpgroup's products with a tile are over.
  const auto give = [&]() {
    if ((threadIdx.x & 31) == 0) ptx_barrier_arrive_in(empty + 8 * stage, 0);
    advance();
  };

  if (warpgroup == 3) {
    if (threadIdx.x != 384) return;
    const TensorMap *dy = &dy0, *b = &b0, *h = &h0;
    int block = blockIdx.x;
    if (block >= blocks_of(out0)) {
      block -= blocks_of(out0);
      dy = &dy1, b = &b1, h = &h1;
      if (block >= blocks_of(out1)) {
        block -= blocks_of(out1);
        dy = &dy2, b = &b2, h = &h2;
      }
    }
    const int column = block * COLUMNS;
    for (int from = first; from < end; from += BOX) {
      const u32 tile = begin + stage * STAGE_BYTES, barrier = full + 8 * stage;
      ptx_barrier_wait(empty + 8 * stage, parity ^ 1);
      ptx_barrier_expect(barrier, STAGE_BYTES);
      for (int n = 0; n < PANELS; n++) ptx_copy_box(tile + n * BOX_BYTES, dy, 2 * (column + n * BOX), from, barrier);
      ptx_copy_box(tile + PANELS * BOX_BYTES, h, 0, from, barrier);
      if (from == first) {
        ptx_barrier_expect(b_full, PANELS * BOX_BYTES);
        for (int n = 0; n < PANELS; n++) ptx_copy_box(b_tile + n * BOX_BYTES, b, 0, column + n * BOX, b_full);
      }
      advance();
    }
  } else if (warpgroup == 0) {
    ptx_barrier_wait(b_full, 0);
    const u64 b = descriptor(b_tile);
    for (int from = first; from < end; from += BOX) {
      float dh[RANK / 8][4];
      const u64 a = descriptor(begin + stage * STAGE_BYTES);
      ptx_barrier_wait(full + 8 * stage, parity);
      keep(dh);
      ptx_wgmma_fence();
#pragma unroll
      for (int k = 0; k < COLUMNS / 16; k++) ptx_wgmma<1>(dh, a + (k / 4 * BOX_BYTES + k % 4 * 32) / 16, b + k * (2048 / 16), k > 0);
      ptx_wgmma_commit();
      ptx_wgmma_wait<0>();
      keep(dh);
      give();
      store_rows(dh_parts + ((i64)blockIdx.x * rows + from) * RANK, dh, end - from);
    }
  } else {
    const int column = (warpgroup - 1) * PIECES * BOX;
    float db[PIECES][RANK / 8][4];
#pragma unroll
    for (int i = 0; i < PIECES * RANK / 2; i++) db[i / (RANK / 2)][i / 4 % (RANK / 8)][i % 4] = 0.0f;
    for (int from = first; from < end; from += BOX) {
      const u32 tile = begin + stage * STAGE_BYTES;
      const u64 a = descriptor(tile + column * 128), h = descriptor(tile + PANELS * BOX_BYTES);
      ptx_barrier_wait(full + 8 * stage, parity);
#pragma unroll
      for (int n = 0; n < PIECES; n++) keep(db[n]);
      ptx_wgmma_fence();
#pragma unroll
      for (int k = 0; k < BOX / 16; k++) {
#pragma unroll
        for (int n = 0; n < PIECES; n++) ptx_wgmma<1, 1>(db[n], a + (n * BOX_BYTES + k * 2048) / 16, h + k * (2048 / 16), 1);
      }
      ptx_wgmma_commit();
      ptx_wgmma_wait<0>();
#pragma unroll
      for (int n = 0; n < PIECES; n++) keep(db[n]);
      give();
    }
    float* const parts = db_parts + (((i64)blockIdx.y * gridDim.x + blockIdx.x) * COLUMNS + column) * RANK;
#pragma unroll
    for (int n = 0; n < PIECES; n++) store_rows(parts + n * BOX * RANK, db[n], BOX);
  }
}
