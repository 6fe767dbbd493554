// Gradients of the low-rank branches y = s·h·Bᵀ of up to three layers, on tensor cores: dh = s·dy·B and dB = s·dyᵀ·h. Each dy, which is what there is
// much of, is read once for both. A block has some columns of a dy and a stretch of its rows, so it has a part of each sum; `branch_totals` adds the
// parts up in a fixed order. All ranks are multiples of 8 and at most RANK, a multiple of 32: smaller ones are filled up with zeros.
#include "spft.cuh"

#ifdef HOPPER
#define COLUMNS 512
#else
#define COLUMNS 256
#define ROWS 64
// Elements from row to row in shared memory: eight rows lie in different banks.
#define DY_STRIDE (COLUMNS + 8)
#define H_STRIDE (RANK + 8)
#endif

struct alignas(8) Floats2 {
  float x, y;
};

__device__ __forceinline__ int blocks_of(int columns) { return (columns + COLUMNS - 1) / COLUMNS; }

#ifdef HOPPER
#include "branch-gradients-hopper.cuh"
#else
// dh_parts[block, row, RANK] over the columns of a block; db_parts[stretch, column, RANK] over its rows, columns counted through all blocks. Layer n has
// dy [rows, out], b [out, rank] and columns [at, at + rank) of h [rows, all].
extern "C" __global__ void __launch_bounds__(256, RANK == 32 ? 2 : 1)
    branch_gradients(const bf16* dy0, const bf16* dy1, const bf16* dy2, const bf16* b0, const bf16* b1, const bf16* b2, const bf16* h, float* dh_parts,
                     float* db_parts, int rows, int count, int all, int out0, int out1, int out2, int rank0, int rank1, int rank2) {
  SPFT_DYNAMIC_SHARED(bf16, shared);
  bf16* const dy_tiles = shared;
  bf16* const h_tiles = dy_tiles + 2 * ROWS * DY_STRIDE;
  bf16* const b_tile = h_tiles + 2 * ROWS * H_STRIDE;
  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;

  const bf16 *dy = dy0, *b = b0;
  int out = out0, rank = rank0, at = 0, block = blockIdx.x;
  if (block >= blocks_of(out0)) {
    block -= blocks_of(out0);
    at = rank0, dy = dy1, b = b1, out = out1, rank = rank1;
    if (block >= blocks_of(out1)) {
      block -= blocks_of(out1);
      at += rank1, dy = dy2, b = b2, out = out2, rank = rank2;
    }
  }
  const int first_column = block * COLUMNS, first = blockIdx.y * count, end = min(rows, first + count);

  for (int piece = thread; piece < COLUMNS * (RANK / 8); piece += 256) {
    const int c = piece / (RANK / 8), r = piece % (RANK / 8) * 8;
    const bool there = first_column + c < out && r < rank;
    ptx_copy_async_16(b_tile + c * H_STRIDE + r, b + (there ? (i64)(first_column + c) * rank + r : 0), there);
  }
  const auto load = [&](int from, int stage) {
    bf16* const dy_tile = dy_tiles + stage * ROWS * DY_STRIDE;
#pragma unroll
    for (int n = 0; n < ROWS * COLUMNS / 8 / 256; n++) {
      const int piece = thread + 256 * n, row = piece / (COLUMNS / 8), c = piece % (COLUMNS / 8) * 8;
      const bool there = from + row < end && first_column + c < out;
      ptx_copy_async_16(dy_tile + row * DY_STRIDE + c, dy + (there ? (i64)(from + row) * out + first_column + c : 0), there);
    }
    bf16* const h_tile = h_tiles + stage * ROWS * H_STRIDE;
#pragma unroll
    for (int n = 0; n < ROWS * RANK / 8 / 256; n++) {
      const int piece = thread + 256 * n, row = piece / (RANK / 8), r = piece % (RANK / 8) * 8;
      const bool there = from + row < end && r < rank;
      ptx_copy_async_16(h_tile + row * H_STRIDE + r, h + (there ? (i64)(from + row) * all + at + r : 0), there);
    }
    ptx_copy_async_commit();
  };

  // A warp has 32 columns of dB; of dh 16 rows and half of the ranks.
  float db[2][RANK / 8][4];
#pragma unroll
  for (int i = 0; i < RANK; i++) db[i / (RANK / 2)][i / 4 % (RANK / 8)][i % 4] = 0.0f;
  // Of the four 8x8 matrices of a fragment, this thread gives a row of one: below or beside the first.
  const int j = lane & 7, odd = (lane >> 3 & 1) * 8, second = (lane >> 4) * 8, g = lane >> 2, q = lane & 3;
  const int dh_row = 16 * (warp & 3), dh_rank = (warp >> 2) * (RANK / 2);

  load(first, 0);
  for (int from = first, stage = 0; from < end; from += ROWS, stage ^= 1) {
    if (from + ROWS < end) {
      load(from + ROWS, stage ^ 1);
      ptx_copy_async_wait<1>();
    } else {
      ptx_copy_async_wait<0>();
    }
    __syncthreads();
    const bf16* const dy_tile = dy_tiles + stage * ROWS * DY_STRIDE;
    const bf16* const h_tile = h_tiles + stage * ROWS * H_STRIDE;
#pragma unroll
    for (int k = 0; k < ROWS; k += 16) {
      u32 a[2][4], c[4];
#pragma unroll
      for (int m = 0; m < 2; m++) ptx_ldmatrix_x4_trans(a[m], dy_tile + (k + second + j) * DY_STRIDE + 32 * warp + 16 * m + odd);
#pragma unroll
      for (int n = 0; n < RANK / 16; n++) {
        ptx_ldmatrix_x4_trans(c, h_tile + (k + odd + j) * H_STRIDE + 16 * n + second);
#pragma unroll
        for (int m = 0; m < 2; m++) {
          ptx_mma_16816(db[m][2 * n], a[m], c[0], c[1]);
          ptx_mma_16816(db[m][2 * n + 1], a[m], c[2], c[3]);
        }
      }
    }
    float dh[RANK / 16][4];
#pragma unroll
    for (int i = 0; i < RANK / 4; i++) dh[i / 4][i % 4] = 0.0f;
#pragma unroll 4
    for (int k = 0; k < COLUMNS; k += 16) {
      u32 a[4], c[4];
      ptx_ldmatrix_x4(a, dy_tile + (dh_row + odd + j) * DY_STRIDE + k + second);
#pragma unroll
      for (int n = 0; n < RANK / 32; n++) {
        ptx_ldmatrix_x4_trans(c, b_tile + (k + odd + j) * H_STRIDE + dh_rank + 16 * n + second);
        ptx_mma_16816(dh[2 * n], a, c[0], c[1]);
        ptx_mma_16816(dh[2 * n + 1], a, c[2], c[3]);
      }
    }
#pragma unroll
    for (int n = 0; n < RANK / 16; n++) {
#pragma unroll
      for (int below = 0; below < 2; below++) {
        const int row = from + dh_row + g + 8 * below;
        float* const to = dh_parts + ((i64)blockIdx.x * rows + row) * RANK + dh_rank + 8 * n + 2 * q;
        if (row < end) *(Floats2*)to = Floats2{dh[n][2 * below], dh[n][2 * below + 1]};
      }
    }
    __syncthreads();
  }
  float* const parts = db_parts + ((i64)blockIdx.y * gridDim.x + blockIdx.x) * COLUMNS * RANK;
#pragma unroll
  for (int m = 0; m < 2; m++) {
#pragma unroll
    for (int n = 0; n < RANK / 8; n++) {
#pragma unroll
      for (int below = 0; below < 2; below++) {
        float* const to = parts + (32 * warp + 16 * m + g + 8 * below) * RANK + 8 * n + 2 * q;
        *(Floats2*)to = Floats2{db[m][n][2 * below], db[m][n][2 * below + 1]};
      }
    }
  }
}
#endif

// Of parts from the n-th on eight, zeros where there are none left.
__device__ __forceinline__ void load_parts(float (&to)[8][4], const float* parts, i64 stride, int n, int count) {
#pragma unroll
  for (int k = 0; k < 8; k++) {
#pragma unroll
    for (int i = 0; i < 4; i++) to[k][i] = 0.0f;
    if (n + k < count) load_vector<4>(parts + (n + k) * stride, to[k]);
  }
}

// Eight parts are loaded while those before are added: the compiler would put each load beside its sum, and wait for each.
__device__ __forceinline__ void total(const float* parts, i64 stride, int count, float scale, float (&sum)[4]) {
  float part[8][4];
  load_parts(part, parts, stride, 0, count);
#pragma unroll
  for (int i = 0; i < 4; i++) sum[i] = 0.0f;
#pragma unroll 1
  for (int n = 8; n < count + 8; n += 8) {
    float next[8][4];
    load_parts(next, parts, stride, n, count);
#pragma unroll
    for (int k = 0; k < 8; k++) {
#pragma unroll
      for (int i = 0; i < 4; i++) {
        sum[i] += part[k][i];
        part[k][i] = next[k][i];
      }
    }
  }
#pragma unroll
  for (int i = 0; i < 4; i++) sum[i] *= scale;
}

// dh [rows, all] and db [out, rank] of each layer from the parts of `stretches` of rows and all blocks of columns. A thread has four numbers: first all
// of dh, then of dB. Where `row_scales` is not null, rows of dh times these are written too, to `scaled`.
extern "C" __global__ void __launch_bounds__(256)
    branch_totals(const float* dh_parts, const float* db_parts, const float* row_scales, bf16* dh, bf16* scaled, float* db0, float* db1, float* db2, int rows, int stretches,
                                         int all, int out0, int out1, int out2, int rank0, int rank1, int rank2, float s0, float s1, float s2) {
  const int blocks0 = blocks_of(out0), blocks1 = blocks_of(out1), blocks = blocks0 + blocks1 + blocks_of(out2);
  i64 n = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  const i64 of_dh = (i64)rows * (all / 4);
  float sum[4];
  if (n < of_dh) {
    // The parts of 2^32 fours would take more memory than there is.
    const i64 row = (u32)n / (u32)(all / 4);
    const int column = (int)((u32)n % (u32)(all / 4)) * 4;
    int r = column, block = 0, count = blocks0;
    float s = s0;
    if (r >= rank0) {
      r -= rank0, block = blocks0, count = blocks1, s = s1;
      if (r >= rank1) r -= rank1, block += blocks1, count = blocks - block, s = s2;
    }
    total(dh_parts + (block * (i64)rows + row) * RANK + r, (i64)rows * RANK, count, s, sum);
    *(Words2*)(dh + row * all + column) = Words2{{pack_bf16(sum[0], sum[1]), pack_bf16(sum[2], sum[3])}};
    if (row_scales) {
      const float by = row_scales[row];
      *(Words2*)(scaled + row * all + column) = Words2{{pack_bf16(sum[0] * by, sum[1] * by), pack_bf16(sum[2] * by, sum[3] * by)}};
    }
    return;
  }
  n -= of_dh;
  const int column = (int)(n / (RANK / 4)), r = (int)(n % (RANK / 4)) * 4;
  if (column >= blocks * COLUMNS) return;
  int c = column, out = out0, rank = rank0;
  float s = s0, *db = db0;
  if (c >= blocks0 * COLUMNS) {
    c -= blocks0 * COLUMNS, out = out1, rank = rank1, s = s1, db = db1;
    if (c >= blocks1 * COLUMNS) c -= blocks1 * COLUMNS, out = out2, rank = rank2, s = s2, db = db2;
  }
  if (c >= out || r >= rank) return;
  total(db_parts + (i64)column * RANK + r, (i64)blocks * COLUMNS * RANK, stretches, s, sum);
  store_vector<4>(db + (i64)c * rank + r, sum);
}
