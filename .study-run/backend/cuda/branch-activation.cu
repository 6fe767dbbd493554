// SwiGLU of a gated MLP with low-rank branches on gate and up, and its gradient, in one launch each: what the frozen products gave, with the branches on top,
// is no matrix in memory. Of rows from `dense` on, where there are `indices`, of what frozen products gave the kept channels alone count, and results are
// written twice: whole, for the branches and dense rows, and the kept channels of sparse rows side by side, for frozen products. All ranks are multiples of 8 and at most RANK, a
// multiple of 32: smaller ones are filled up with zeros. A block has 64 rows of 128 channels, a warp 16 rows of half of these, a quarter at a time.
// Reference: lora-mlp.reference.ts of sparse-ops.
#include "spft.cuh"

#define COLUMNS 128
#define ROWS 64
#define THREADS 256
#define OWN 32
// Elements from row to row in shared memory: eight rows lie in different banks.
#define H_STRIDE (RANK + 8)
#define Y_STRIDE (COLUMNS + 8)
// Threads across a row, 16 bytes each, and rows that the block has at a time.
#define ACROSS (COLUMNS / 8)
#define DOWN (THREADS / ACROSS)

__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0f, 1.0f + __expf(-x)); }

// Begins to copy rows [first, end) of `rank` columns to a tile of H_STRIDE; zeros beyond.
__device__ __forceinline__ void load_low_rank(bf16* tile, int rows, const bf16* from, int first, int end, int stride, int rank) {
#pragma unroll 4
  for (int piece = threadIdx.x; piece < rows * RANK / 8; piece += THREADS) {
    const int row = piece / (RANK / 8), r = piece % (RANK / 8) * 8;
    const bool there = first + row < end && r < rank;
    ptx_copy_async_16(tile + row * H_STRIDE + r, from + (there ? (i64)(first + row) * stride + r : 0), there);
  }
}

// Begins to copy a block's part of a matrix [end, columns] to a tile of Y_STRIDE; zeros beyond.
__device__ __forceinline__ void load_tile(bf16* tile, int rows, const bf16* from, int first, int end, int first_column, int columns) {
  const int column = threadIdx.x % ACROSS * 8;
#pragma unroll 4
  for (int row = threadIdx.x / ACROSS; row < rows; row += DOWN) {
    const bool there = first + row < end && first_column + column < columns;
    ptx_copy_async_16(tile + row * Y_STRIDE + column, from + (there ? (i64)(first + row) * columns + first_column + column : 0), there);
  }
}

// The kept ones of a block's columns.
struct Kept {
  u16 mask[COLUMNS];  // all ones
  u8 list[COLUMNS];   // ascending
  int begin, end;     // their places among all that are kept
};

// Finds them. Wants a barrier before they are read.
__device__ __forceinline__ void find_kept(Kept& of, const int* indices, int kept, int first_column) {
  if (threadIdx.x < COLUMNS) of.mask[threadIdx.x] = 0;
  if (threadIdx.x == 0) of.begin = kept, of.end = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < kept; i += THREADS) {
    const int column = indices[i] - first_column;
    if (column < 0 || column >= COLUMNS) continue;
    of.mask[column] = 0xffffu;
    atomicMin(&of.begin, i);
    atomicMax(&of.end, i + 1);
  }
  __syncthreads();
  for (int i = of.begin + threadIdx.x; i < of.end; i += THREADS) of.list[i - of.begin] = indices[i] - first_column;
}

// h·bᵀ of 16 rows of a tile from `row` on and OWN rows of another from `column` on.
__device__ __forceinline__ void branch_of(float (&sum)[OWN / 8][4], const bf16* h_tile, const bf16* b_tile, int row, int column) {
  const int lane = threadIdx.x & 31, j = lane & 7, odd = (lane >> 3 & 1) * 8, second = (lane >> 4) * 8;
#pragma unroll
  for (int i = 0; i < OWN / 2; i++) sum[i / 4][i % 4] = 0.0f;
#pragma unroll
  for (int k = 0; k < RANK; k += 16) {
    u32 of_h[4], of_b[4];
    ptx_ldmatrix_x4(of_h, h_tile + (row + odd + j) * H_STRIDE + k + second);
#pragma unroll
    for (int n = 0; n < OWN / 8; n += 2) {
      ptx_ldmatrix_x4(of_b, b_tile + (column + 8 * n + second + j) * H_STRIDE + k + odd);
      ptx_mma_16816(sum[n], of_h, of_b[0], of_b[1]);
      ptx_mma_16816(sum[n + 1], of_h, of_b[2], of_b[3]);
    }
  }
}

// h·a of the same rows and OWN columns of a tile [RANK, COLUMNS].
__device__ __forceinline__ void branch_gradient_of(float (&sum)[OWN / 8][4], const bf16* h_tile, const bf16* a_tile, int row, int column) {
  const int lane = threadIdx.x & 31, j = lane & 7, odd = (lane >> 3 & 1) * 8, second = (lane >> 4) * 8;
#pragma unroll
  for (int i = 0; i < OWN / 2; i++) sum[i / 4][i % 4] = 0.0f;
#pragma unroll
  for (int k = 0; k < RANK; k += 16) {
    u32 of_h[4], of_a[4];
    ptx_ldmatrix_x4(of_h, h_tile + (row + odd + j) * H_STRIDE + k + second);
#pragma unroll
    for (int n = 0; n < OWN / 8; n += 2) {
      ptx_ldmatrix_x4_trans(of_a, a_tile + (k + odd + j) * Y_STRIDE + column + 8 * n + second);
      ptx_mma_16816(sum[n], of_h, of_a[0], of_a[1]);
      ptx_mma_16816(sum[n + 1], of_h, of_a[2], of_a[3]);
    }
  }
}

// Two numbers of a frozen product with a branch's on top, rounded: in the forward as in the backward.
__device__ __forceinline__ u32 with_branch(u32 base, float s, float low, float high) {
  return pack_bf16(low_float(base) + s * low, high_float(base) + s * high);
}

// The kept columns of a tile's sparse rows to `to` [rows - dense, stride].
__device__ __forceinline__ void store_kept(const bf16* tile, bf16* to, const Kept& of, int first, int rows, int dense, int stride) {
  const int lane = threadIdx.x & 31, count = of.end - of.begin;
  for (int row = threadIdx.x >> 5; row < ROWS; row += THREADS / 32) {
    if (first + row < dense || first + row >= rows) continue;
    bf16* const at = to + (i64)(first + row - dense) * stride + of.begin;
    for (int i = lane; i < count; i += 32) at[i] = tile[row * Y_STRIDE + of.list[i]];
  }
}

// A tile to rows of `to`.
__device__ __forceinline__ void store_tile(const bf16* tile, bf16* to, int first, int rows, int first_column, int columns) {
  const int column = threadIdx.x % ACROSS * 8;
  if (first_column + column >= columns) return;
#pragma unroll 4
  for (int row = threadIdx.x / ACROSS; row < ROWS; row += DOWN) {
    if (first + row >= rows) return;
    *(Words4*)(to + (i64)(first + row) * columns + first_column + column) = *(const Words4*)(tile + row * Y_STRIDE + column);
  }
}

// y [rows, columns] = silu(gate) ⊙ up, where gate and up [rows, columns] are with s·h·bᵀ on top; h [rows, all], that of gate first. With `indices` kept_y
// [rows - dense, kept] as well.
extern "C" __global__ void __launch_bounds__(THREADS)
    branch_activation(const bf16* gate, const bf16* up, const bf16* h, const bf16* b_gate, const bf16* b_up, const int* indices, bf16* y, bf16* kept_y,
                      int rows, int dense, int columns, int kept, int all, int rank_gate, int rank_up, float s_gate, float s_up) {
  SPFT_DYNAMIC_SHARED(bf16, shared);
  bf16* const gate_tile = shared;
  bf16* const up_tile = gate_tile + ROWS * Y_STRIDE;
  bf16* const b_tiles = up_tile + ROWS * Y_STRIDE;
  bf16* const h_tiles = b_tiles + 2 * COLUMNS * H_STRIDE;
  __shared__ __align__(16) Kept channels;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, first = blockIdx.y * ROWS, first_column = blockIdx.x * COLUMNS;
  load_low_rank(b_tiles, COLUMNS, b_gate, first_column, columns, rank_gate, rank_gate);
  load_low_rank(b_tiles + COLUMNS * H_STRIDE, COLUMNS, b_up, first_column, columns, rank_up, rank_up);
  load_low_rank(h_tiles, ROWS, h, first, rows, all, rank_gate);
  load_low_rank(h_tiles + ROWS * H_STRIDE, ROWS, h + rank_gate, first, rows, all, rank_up);
  load_tile(gate_tile, ROWS, gate, first, rows, first_column, columns);
  load_tile(up_tile, ROWS, up, first, rows, first_column, columns);
  ptx_copy_async_commit();
  if (indices) find_kept(channels, indices, kept, first_column);
  ptx_copy_async_wait<0>();
  __syncthreads();

  const int own_row = 16 * (warp % 4);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int own_column = COLUMNS / 2 * (warp / 4) + OWN * half;
    float of_gate[OWN / 8][4], of_up[OWN / 8][4];
    branch_of(of_gate, h_tiles, b_tiles, own_row, own_column);
    branch_of(of_up, h_tiles + ROWS * H_STRIDE, b_tiles + COLUMNS * H_STRIDE, own_row, own_column);
#pragma unroll
    for (int below = 0; below < 2; below++) {
      const int row = own_row + 8 * below + (lane >> 2);
      const bool masks = indices && first + row >= dense;
#pragma unroll
      for (int n = 0; n < OWN / 8; n++) {
        const int column = own_column + 8 * n + 2 * (lane & 3);
        u32* const place = (u32*)(gate_tile + row * Y_STRIDE + column);
        const u32 counts = masks ? *(const u32*)(channels.mask + column) : 0xffffffffu;
        const u32 g = with_branch(*place & counts, s_gate, of_gate[n][2 * below], of_gate[n][2 * below + 1]);
        const u32 u = with_branch(*(const u32*)(up_tile + row * Y_STRIDE + column) & counts, s_up, of_up[n][2 * below], of_up[n][2 * below + 1]);
        const float low = low_float(g), high = high_float(g);
        *place = pack_bf16(low * sigmoid(low) * low_float(u), high * sigmoid(high) * high_float(u));
      }
    }
  }
  __syncthreads();
  if (kept_y) store_kept(gate_tile, kept_y, channels, first, rows, dense, kept);
  store_tile(gate_tile, y, first, rows, first_column, columns);
}

// The gradients of gate and up [rows, columns], with `indices` kept_d [rows - dense, kept + kept] of both as well. The gradient of y is what the frozen product of down gave, dy [rows,
// columns], with dh·a of its branch on top: dh [rows, rank_down], a [rank_down, columns].
extern "C" __global__ void __launch_bounds__(THREADS)
    branch_activation_grad(const bf16* gate, const bf16* up, const bf16* h, const bf16* b_gate, const bf16* b_up, const int* indices, const bf16* dy,
                           const bf16* dh, const bf16* a, bf16* dgate, bf16* dup, bf16* kept_d, int rows, int dense, int columns,
                           int kept, int all, int rank_gate, int rank_up, int rank_down, float s_gate, float s_up) {
  SPFT_DYNAMIC_SHARED(bf16, shared);
  bf16* const gate_tile = shared;
  bf16* const up_tile = gate_tile + ROWS * Y_STRIDE;
  bf16* const dy_tile = up_tile + ROWS * Y_STRIDE;
  bf16* const a_tile = dy_tile + ROWS * Y_STRIDE;
  bf16* const b_tiles = a_tile + RANK * Y_STRIDE;
  bf16* const h_tiles = b_tiles + 2 * COLUMNS * H_STRIDE;
  bf16* const dh_tile = h_tiles + 2 * ROWS * H_STRIDE;
  __shared__ __align__(16) Kept channels;
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, first = blockIdx.y * ROWS, first_column = blockIdx.x * COLUMNS;
  load_low_rank(b_tiles, COLUMNS, b_gate, first_column, columns, rank_gate, rank_gate);
  load_low_rank(b_tiles + COLUMNS * H_STRIDE, COLUMNS, b_up, first_column, columns, rank_up, rank_up);
  load_low_rank(h_tiles, ROWS, h, first, rows, all, rank_gate);
  load_low_rank(h_tiles + ROWS * H_STRIDE, ROWS, h + rank_gate, first, rows, all, rank_up);
  load_low_rank(dh_tile, ROWS, dh, first, rows, rank_down, rank_down);
  load_tile(a_tile, RANK, a, 0, rank_down, first_column, columns);
  load_tile(gate_tile, ROWS, gate, first, rows, first_column, columns);
  load_tile(up_tile, ROWS, up, first, rows, first_column, columns);
  load_tile(dy_tile, ROWS, dy, first, rows, first_column, columns);
  ptx_copy_async_commit();
  if (indices) find_kept(channels, indices, kept, first_column);
  ptx_copy_async_wait<0>();
  __syncthreads();

  const int own_row = 16 * (warp % 4);
#pragma unroll
  for (int half = 0; half < 2; half++) {
    const int own_column = COLUMNS / 2 * (warp / 4) + OWN * half;
    float of_gate[OWN / 8][4], of_up[OWN / 8][4], of_y[OWN / 8][4];
    branch_of(of_gate, h_tiles, b_tiles, own_row, own_column);
    branch_of(of_up, h_tiles + ROWS * H_STRIDE, b_tiles + COLUMNS * H_STRIDE, own_row, own_column);
    branch_gradient_of(of_y, dh_tile, a_tile, own_row, own_column);
#pragma unroll
    for (int below = 0; below < 2; below++) {
      const int row = own_row + 8 * below + (lane >> 2);
      const bool masks = indices && first + row >= dense;
#pragma unroll
      for (int n = 0; n < OWN / 8; n++) {
        const int column = own_column + 8 * n + 2 * (lane & 3);
        u32* const of_dgate = (u32*)(gate_tile + row * Y_STRIDE + column);
        u32* const of_dup = (u32*)(up_tile + row * Y_STRIDE + column);
        const u32 counts = masks ? *(const u32*)(channels.mask + column) : 0xffffffffu;
        const u32 g = with_branch(*of_dgate & counts, s_gate, of_gate[n][2 * below], of_gate[n][2 * below + 1]);
        const u32 u = with_branch(*of_dup & counts, s_up, of_up[n][2 * below], of_up[n][2 * below + 1]);
        const u32 d = *(const u32*)(dy_tile + row * Y_STRIDE + column) & counts;
        float made_g[2], made_u[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
          const float z = i ? high_float(g) : low_float(g), of = i ? high_float(u) : low_float(u);
          const float whole_d = (i ? high_float(d) : low_float(d)) + of_y[n][2 * below + i];
          const float sigma = sigmoid(z), silu = z * sigma;
          made_g[i] = whole_d * of * (sigma + silu - silu * sigma);
          made_u[i] = whole_d * silu;
        }
        *of_dgate = pack_bf16(made_g[0], made_g[1]);
        *of_dup = pack_bf16(made_u[0], made_u[1]);
      }
    }
  }
  __syncthreads();
  if (kept_d) {
    store_kept(gate_tile, kept_d, channels, first, rows, dense, 2 * kept);
    store_kept(up_tile, kept_d + kept, channels, first, rows, dense, 2 * kept);
  }
  store_tile(gate_tile, dgate, first, rows, first_column, columns);
  store_tile(up_tile, dup, first, rows, first_column, columns);
}
