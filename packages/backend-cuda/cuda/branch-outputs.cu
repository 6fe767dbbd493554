// What the low-rank branches of up to three layers add: y = c + s·h·Bᵀ, or without c, on tensor cores. All there is to do is to move c and y; a block
// has 64 rows of 128 columns of a y. All ranks are multiples of 8 and at most RANK, a multiple of 32: smaller ones are filled up with zeros.
#include "kept-columns.cuh"
#include "rope.cuh"

#define COLUMNS 128
#define ROWS 64
// Elements from row to row in shared memory: eight rows lie in different banks.
#define Y_STRIDE (COLUMNS + 8)
#define H_STRIDE (RANK + 8)
// Threads across a row, 16 bytes each, and rows that the block has at a time.
#define ACROSS (COLUMNS / 8)
#define DOWN (256 / ACROSS)

__device__ __forceinline__ int blocks_of(int columns) { return (columns + COLUMNS - 1) / COLUMNS; }

// Layer n has y and c [rows, out], b [out, rank] and columns [at, at + rank) of h [rows, all]. c, which may be y, is added to rows from `from` on; or it
// is null. Where `kept` is not null, rows from `mask_from` on have those columns of c alone. A block has `count` rows. With TURNS, what layers of
// the bits of `turned` give is turned by rotary position embedding, as rope.cu would turn what they would have written, in heads of 2·half columns of which a block
// has whole ones. A thread then has the same eight pairs of columns in two rows of a tile, and fetches their angles before the products, into registers for which two
// blocks to a multiprocessor have room.
#ifndef TURNS
#define TURNS 0
#endif
#define PAIRED_ROWS (256 / (COLUMNS / 16))

#if TURNS
#define BOUNDS __launch_bounds__(256, 2)
#else
#define BOUNDS __launch_bounds__(256)
#endif

extern "C" __global__ void BOUNDS
    branch_outputs(bf16* y0, bf16* y1, bf16* y2, const bf16* c0, const bf16* c1, const bf16* c2, const bf16* b0, const bf16* b1, const bf16* b2, const bf16* h,
                   const int* kept0, const int* kept1, const int* kept2, int rows, int count, int all, int out0, int out1, int out2, int rank0, int rank1, int rank2, int at0, int at1, int at2, int from0, int from1,
                   int from2, int count0, int count1, int count2, int mask_from0, int mask_from1, int mask_from2, float s0, float s1, float s2,
                   const float* cosines, const float* sines, int half, int turned) {
  SPFT_DYNAMIC_SHARED(bf16, shared);
  bf16* const y_tiles = shared;
  bf16* const h_tiles = y_tiles + 2 * ROWS * Y_STRIDE;
  bf16* const b_tile = h_tiles + 2 * ROWS * H_STRIDE;
  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;

  bf16* y = y0;
  const bf16 *c = c0, *b = b0;
  int out = out0, rank = rank0, at = at0, from = from0, block = blockIdx.x;
  const int* kept = kept0;
  int kept_count = count0, mask_from = mask_from0;
  float s = s0;
  if (block >= blocks_of(out0)) {
    block -= blocks_of(out0);
    turned >>= 1;
    y = y1, c = c1, b = b1, out = out1, rank = rank1, at = at1, from = from1, s = s1, kept = kept1, kept_count = count1, mask_from = mask_from1;
    if (block >= blocks_of(out1)) {
      block -= blocks_of(out1);
      turned >>= 1;
      y = y2, c = c2, b = b2, out = out2, rank = rank2, at = at2, from = from2, s = s2, kept = kept2, kept_count = count2, mask_from = mask_from2;
    }
  }
  const int first_column = block * COLUMNS, end = min(rows, (int)(blockIdx.y + 1) * count);
  const int column = first_column + thread % ACROSS * 8, down = thread / ACROSS;
  // All ones where c counts.
  __shared__ __align__(16) u16 mask[COLUMNS];
  if (kept && thread < ACROSS) {
    int place[8];
    places_of(kept, kept_count, column, place);
#pragma unroll
    for (int i = 0; i < 8; i++) mask[thread * 8 + i] = place[i] < 0 ? 0 : 0xffffu;
  }

#pragma unroll
  for (int n = 0; n < COLUMNS * RANK / 8 / 256; n++) {
    const int piece = thread + 256 * n, column = piece / (RANK / 8), r = piece % (RANK / 8) * 8;
    const bool there = first_column + column < out && r < rank;
    ptx_copy_async_16(b_tile + column * H_STRIDE + r, b + (there ? (i64)(first_column + column) * rank + r : 0), there);
  }
  const auto load = [&](int first, int stage) {
#pragma unroll
    for (int piece = thread; piece < ROWS * RANK / 8; piece += 256) {
      const int row = first + piece / (RANK / 8), r = piece % (RANK / 8) * 8;
      const bool there = row < end && r < rank;
      ptx_copy_async_16(h_tiles + (stage * ROWS + row - first) * H_STRIDE + r, h + (there ? (i64)row * all + at + r : 0), there);
    }
    if (c) {
#pragma unroll
      for (int row = first + down; row < first + ROWS; row += DOWN) {
        const bool there = row >= from && row < end && column < out;
        ptx_copy_async_16(y_tiles + (stage * ROWS + row - first) * Y_STRIDE + column - first_column, c + (there ? (i64)row * out + column : 0), there);
      }
    }
    ptx_copy_async_commit();
  };

  // A warp has 16 rows of a share of the columns. Of the four 8x8 matrices of a fragment, this thread gives a row of one: below or beside the first.
  constexpr int ROW_WARPS = ROWS / 16, OWN = COLUMNS * ROW_WARPS / 8;
  const int j = lane & 7, odd = (lane >> 3 & 1) * 8, second = (lane >> 4) * 8, g = lane >> 2, q = lane & 3;
  const int own_row = 16 * (warp % ROW_WARPS), own_column = OWN * (warp / ROW_WARPS);

#if TURNS
  const bool turns = turned & 1;
  // The eight columns of the first halves of heads, from the block's first on.
  const int pair = thread % (COLUMNS / 16) * 8, place = turns ? pair % half : 0, lower = turns ? pair / half * 2 * half + place : 0;
  float cosine[ROWS / PAIRED_ROWS][8], sine[ROWS / PAIRED_ROWS][8];
#endif
  load(blockIdx.y * count, 0);
  for (int first = blockIdx.y * count, stage = 0; first < end; first += ROWS, stage ^= 1) {
#if TURNS
    if (turns) {
#pragma unroll
      for (int i = 0; i < ROWS / PAIRED_ROWS; i++) {
        const i64 angle = (i64)min(first + thread / (COLUMNS / 16) + PAIRED_ROWS * i, end - 1) * half + place;
        load_vector<8>(cosines + angle, cosine[i]);
        load_vector<8>(sines + angle, sine[i]);
      }
    }
#endif
    if (first + ROWS < end) {
      load(first + ROWS, stage ^ 1);
      ptx_copy_async_wait<1>();
    } else {
      ptx_copy_async_wait<0>();
    }
    __syncthreads();
    bf16* const y_tile = y_tiles + stage * ROWS * Y_STRIDE;
    const bf16* const h_tile = h_tiles + stage * ROWS * H_STRIDE;
    float sum[OWN / 8][4];
#pragma unroll
    for (int i = 0; i < OWN / 2; i++) sum[i / 4][i % 4] = 0.0f;
#pragma unroll
    for (int k = 0; k < RANK; k += 16) {
      u32 of_h[4], of_b[4];
      ptx_ldmatrix_x4(of_h, h_tile + (own_row + odd + j) * H_STRIDE + k + second);
#pragma unroll
      for (int n = 0; n < OWN / 16; n++) {
        ptx_ldmatrix_x4(of_b, b_tile + (own_column + 16 * n + second + j) * H_STRIDE + k + odd);
        ptx_mma_16816(sum[2 * n], of_h, of_b[0], of_b[1]);
        ptx_mma_16816(sum[2 * n + 1], of_h, of_b[2], of_b[3]);
      }
    }
#pragma unroll
    for (int n = 0; n < OWN / 8; n++) {
#pragma unroll
      for (int below = 0; below < 2; below++) {
        u32* const at = (u32*)(y_tile + (own_row + g + 8 * below) * Y_STRIDE + own_column + 8 * n + 2 * q);
        u32 before = c ? *at : 0u;
        if (kept && first + own_row + g + 8 * below >= mask_from) before &= *(const u32*)(mask + own_column + 8 * n + 2 * q);
        *at = pack_bf16(low_float(before) + s * sum[n][2 * below], high_float(before) + s * sum[n][2 * below + 1]);
      }
    }
    __syncthreads();
#if TURNS
    if (turns) {
#pragma unroll
      for (int i = 0; i < ROWS / PAIRED_ROWS; i++) {
        const int row = thread / (COLUMNS / 16) + PAIRED_ROWS * i;
        if (first + row >= end || first_column + lower >= out) continue;
        const bf16* const from = y_tile + row * Y_STRIDE + lower;
        bf16* const to = y + (i64)(first + row) * out + first_column + lower;
        float a[8], b[8];
        load_vector<8>(from, a);
        load_vector<8>(from + half, b);
        turn_octets(a, b, cosine[i], sine[i]);
        store_vector<8>(to, a);
        store_vector<8>(to + half, b);
      }
      __syncthreads();
      continue;
    }
#endif
#pragma unroll
    for (int row = down; row < ROWS; row += DOWN) {
      if (first + row < end && column < out)
        *(Words4*)(y + (i64)(first + row) * out + column) = *(const Words4*)(y_tile + row * Y_STRIDE + column - first_column);
    }
    __syncthreads();
  }
}
